package bot

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"secbot/remediation"
	"secbot/remediation/store"
)

// BenchmarkCommands answers signed slash commands over loopback, from a store
// on disk, with 200 in flight, and reports the 50th and 99th percentile of the
// time to the answer as the client sees it. "fix" is stored before it is
// answered. The aim is a p99 under 50 ms.
func BenchmarkCommands(b *testing.B) {
	for name, text := range map[string]string{"fix": "fix " + incidentID, "incidents": "incidents", "help": "help"} {
		b.Run(name, func(b *testing.B) { benchmarkCommand(b, text) })
	}
}

const inFlight = 200

func benchmarkCommand(b *testing.B, text string) {
	st, err := store.Open("bolt://"+filepath.Join(b.TempDir(), "bench.db"), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	if err := st.Commit(b.Context(), remediation.Write{Incident: incident(opened())}); err != nil {
		b.Fatal(err)
	}
	engine := remediation.New(remediation.Options{Store: st, Config: remediation.DefaultConfig()})
	h := &Handler{SigningSecret: "secret", Client: NewClient("", "", nil), Engine: engine, Store: st, Names: names()}
	router := chi.NewRouter()
	h.Routes(router)
	server := httptest.NewServer(router)
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: inFlight}}
	defer client.CloseIdleConnections()

	took := make([]time.Duration, b.N)
	var next atomic.Int64
	var running sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range inFlight {
		running.Go(func() {
			for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
				took[i] = oneCommand(b, client, server.URL, text, i)
			}
		})
	}
	running.Wait()
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

func oneCommand(b *testing.B, client *http.Client, target, text string, i int64) time.Duration {
	body := url.Values{"command": {"/secbot"}, "text": {text}, "user_id": {"U0ALICE"}, "channel_id": {"C0SECBOT"},
		"trigger_id": {fmt.Sprint("1.", i)}, "response_url": {"https://hooks.slack.com/commands/x"}}.Encode()
	r, err := http.NewRequest(http.MethodPost, target+"/slack/commands", strings.NewReader(body))
	if err != nil {
		b.Error(err)
		return 0
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for k, v := range signed("secret", body, time.Now()) {
		r.Header.Set(k, v)
	}
	began := time.Now()
	resp, err := client.Do(r)
	if err != nil {
		b.Error(err)
		return 0
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	took := time.Since(began)
	if err != nil || resp.StatusCode != http.StatusOK || strings.Contains(string(answer), "could not") {
		b.Errorf("%d %s %v", resp.StatusCode, answer, err)
	}
	return took
}
