package bot

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// ack is how a request of Slack's is answered, whichever way it came: over HTTP with
// this status, over Socket Mode by its envelope, or not at all.
type ack struct {
	status  int    // any other than 200 is no acknowledgement
	problem string // why there is none
	body    any    // what goes with it, as JSON, or a json.RawMessage that is it; nil for nothing
}

func taken() ack { return ack{status: http.StatusOK} }

func takenWith(body any) ack { return ack{status: http.StatusOK, body: body} }

// notTaken leaves it to Slack to show an error, or to send an event again.
func notTaken(status int, problem string) ack { return ack{status: status, problem: problem} }

func (a ack) write(w http.ResponseWriter) {
	switch {
	case a.status != http.StatusOK:
		http.Error(w, a.problem, a.status)
	case a.body == nil:
		w.WriteHeader(http.StatusOK)
	default:
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		// When this fails the client has gone and there is nobody to tell.
		if ready, ok := a.body.(json.RawMessage); ok {
			w.Header().Set("Content-Length", strconv.Itoa(len(ready)))
			_, _ = w.Write(ready)
			return
		}
		_ = json.NewEncoder(w).Encode(a.body)
	}
}
