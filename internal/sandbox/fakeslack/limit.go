package fakeslack

import (
	"time"

	"golang.org/x/time/rate"
)

// overRate says how long to wait where a call is over Slack's rate; 0 lets it
// through. See https://docs.slack.dev/apis/web-api/rate-limits.
func (s *Slack) overRate(method string, a args) time.Duration {
	if !s.o.RateLimits {
		return 0
	}
	key, perMinute, burst := tier(method, a)
	limiter, ok := s.limits[key]
	if !ok {
		limiter = rate.NewLimiter(rate.Limit(float64(perMinute)/60), burst)
		s.limits[key] = limiter
	}
	now := s.o.Now()
	r := limiter.ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

// tier gives what calls are counted together, and how many a minute and at
// once are let through.
func tier(method string, a args) (key string, perMinute, burst int) {
	switch method {
	case "chat.postMessage":
		return method + " " + a["channel"], 60, 1
	case "chat.postEphemeral", "users.info", "views.open", "views.push", "views.update", "views.publish",
		"files.getUploadURLExternal", "files.completeUploadExternal":
		return method, 100, 100
	case "usergroups.list", "usergroups.users.list", "conversations.list":
		return method, 20, 20
	case "auth.test", "api.test":
		return method, 300, 300
	}
	return method, 50, 50
}
