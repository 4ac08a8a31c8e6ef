package demo_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/slack-go/slack"

	"secbot/internal/demo"
	"secbot/internal/sandbox"
	"secbot/internal/sandbox/fakeaws"
	"secbot/internal/sandbox/fakeslack"
)

// page serves a world's page. end is what ends its streams.
func page(t *testing.T) (url string, w *demo.World, end context.CancelFunc) {
	t.Helper()
	sb, err := sandbox.Start(t.Context(), sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sb.Close(); err != nil {
			t.Error(err)
		}
	})
	if w, err = demo.NewWorld(t.Context(), sb, nil, &demo.Clock{}); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	t.Cleanup(end)
	r := chi.NewRouter()
	demo.NewPage(ctx, w, []demo.Completion{{Name: "scan"}}).Routes(r)
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	return srv.URL, w, end
}

func request(t *testing.T, method, url, body string, header map[string]string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for k, v := range header {
		req.Header.Set(k, v)
		if k == "Host" {
			req.Host = v
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

func TestPageIsForThisMachineAlone(t *testing.T) {
	url, w, _ := page(t)
	breakIt := `{"what":"ssh","target":"` + w.Group + `"}`
	for name, c := range map[string]struct {
		method, path, body string
		header             map[string]string
		status             int
		says               string
	}{
		"the page":              {method: "GET", path: "/", status: 200, says: "<h1>secbot"},
		"its script":            {method: "GET", path: "/demo/app.js", status: 200, says: "EventSource"},
		"another name":          {method: "GET", path: "/", header: map[string]string{"Host": "evil.example.com"}, status: 403, says: "127.0.0.1"},
		"a foreign page":        {method: "POST", path: "/demo/break", body: breakIt, header: map[string]string{"Sec-Fetch-Site": "cross-site"}, status: 403},
		"a foreign page clicks": {method: "POST", path: "/sandbox/click", body: `{}`, header: map[string]string{"Sec-Fetch-Site": "cross-site"}, status: 403},
		"no way to break it":    {method: "POST", path: "/demo/break", body: `{"what":"hammer"}`, status: 422, says: "no such way"},
		"AWS refuses":           {method: "POST", path: "/demo/break", body: `{"what":"acl-read","target":"acme-payroll"}`, status: 422, says: "AccessControlListNotSupported"},
		"no JSON":               {method: "POST", path: "/demo/break", body: `{`, status: 400, says: "not a request"},
		"no such person":        {method: "POST", path: "/sandbox/command", body: `{"user":"U0NOBODY","text":"help"}`, status: 422, says: "U0NOBODY"},
		"breaks":                {method: "POST", path: "/demo/break", body: breakIt, status: 200},
	} {
		t.Run(name, func(t *testing.T) {
			status, answer := request(t, c.method, url+c.path, c.body, c.header)
			if status != c.status || !strings.Contains(answer, c.says) {
				t.Errorf("%d %s, want %d with %q", status, answer, c.status, c.says)
			}
		})
	}
}

// TestStream: the state comes at once, and again after a change; the stream ends
// with the page.
func TestStream(t *testing.T) {
	url, w, end := page(t)
	resp, err := http.Get(url + "/demo/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	next := func() (s struct {
		Groups    []fakeaws.GroupView
		Breakages []demo.Breakage
	}) {
		t.Helper()
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if data, ok := strings.CutPrefix(line, "data: "); ok {
				if err := json.Unmarshal([]byte(data), &s); err != nil {
					t.Fatal(err)
				}
				return s
			}
		}
	}
	if s := next(); len(s.Groups) != 1 || len(s.Groups[0].Rules) != 2 || len(s.Breakages) == 0 {
		t.Fatalf("at first: %+v", s)
	}
	if err := w.Break(t.Context(), "ssh", w.Group); err != nil {
		t.Fatal(err)
	}
	for s := next(); len(s.Groups[0].Rules) != 3; s = next() {
	}
	end()
	if _, err := io.Copy(io.Discard, lines); err != nil {
		t.Errorf("the stream does not end: %v", err)
	}
}

// TestPageChoosesInAMenu: what the page sends for an option of a menu comes to
// secbot as that option, signed.
func TestPageChoosesInAMenu(t *testing.T) {
	url, w, _ := page(t)
	stand := w.Sandbox.Slack
	chosen := make(chan slack.InteractionCallback, 1)
	bot := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ic, err := slack.InteractionCallbackParse(r)
		if err != nil || r.Header.Get("X-Slack-Signature") == "" {
			t.Errorf("not a signed interaction: %v", err)
		}
		chosen <- ic
	}))
	t.Cleanup(bot.Close)
	w.Sandbox.SetTarget(bot.URL)
	plain := func(s string) *slack.TextBlockObject {
		return slack.NewTextBlockObject(slack.PlainTextType, s, false, false)
	}
	menu := slack.NewOverflowBlockElement("more", slack.NewOptionBlockObject("runbook:01X", plain("Show Runbook"), nil),
		slack.NewOptionBlockObject("evidence:01X", plain("Show Evidence"), nil))
	_, ts, err := slack.New(stand.Token(), slack.OptionAPIURL(stand.APIURL())).PostMessage(fakeslack.ChannelSecurity,
		slack.MsgOptionBlocks(slack.NewActionBlock("inc:01X:s1", menu)))
	if err != nil {
		t.Fatal(err)
	}
	click := `{"user":"` + fakeslack.Mallory + `","channel":"` + fakeslack.ChannelSecurity + `","ts":"` + ts + `","action":"more=`
	if status, answer := request(t, "POST", url+"/sandbox/click", click+`evidence:01X"}`, nil); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	a := (<-chosen).ActionCallback.BlockActions[0]
	if a.ActionID != "more" || a.BlockID != "inc:01X:s1" || a.SelectedOption.Value != "evidence:01X" || a.Value != "" {
		t.Errorf("%+v", a)
	}
	if status, answer := request(t, "POST", url+"/sandbox/click", click+`other"}`, nil); status != http.StatusUnprocessableEntity || !strings.Contains(answer, "more=evidence:01X") {
		t.Errorf("an option that is not there: %d %s", status, answer)
	}
}

// TestBreakages: each opens something that the console shows.
func TestBreakages(t *testing.T) {
	_, w, _ := page(t)
	cloud := w.Sandbox.AWS
	for _, b := range demo.Breakages() {
		target := map[string]string{"group": w.Group, "bucket": demo.DataBucket}[b.Kind]
		if b.ID == "unblock" {
			target = demo.VaultBucket
		}
		before := looks(t, cloud)
		if err := w.Break(t.Context(), b.ID, target); err != nil {
			t.Errorf("%s: %v", b.ID, err)
		}
		if after := looks(t, cloud); after == before {
			t.Errorf("%s changes nothing", b.ID)
		}
	}
	i := slices.IndexFunc(cloud.Buckets(), func(b fakeaws.BucketView) bool { return b.Name == demo.DataBucket })
	if got := cloud.Buckets()[i].Public; !slices.Equal(got, []string{"acl", "policy"}) {
		t.Errorf("the bucket is public by %v", got)
	}
}

func looks(t *testing.T, cloud *fakeaws.AWS) string {
	t.Helper()
	raw, err := json.Marshal([]any{cloud.Groups(), cloud.Buckets()})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestPageShowsHomesAndFiles: what was published to a home, and what was uploaded,
// pictures alone.
func TestPageShowsHomesAndFiles(t *testing.T) {
	url, w, _ := page(t)
	sl := w.Sandbox.Slack
	api := slack.New(sl.Token(), slack.OptionAPIURL(sl.APIURL()))
	view := slack.HomeTabViewRequest{Type: slack.VTHomeTab, Blocks: slack.Blocks{BlockSet: []slack.Block{slack.NewDividerBlock()}}}
	if _, err := api.PublishView(fakeslack.Alice, view, ""); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"a.png": "\x89PNG\r\n\x1a\n", "a.html": "<script>alert(1)</script>"} {
		if _, err := api.UploadFile(slack.UploadFileParameters{Filename: name, FileSize: len(content), Content: content, Title: name, Channel: fakeslack.ChannelSecurity}); err != nil {
			t.Fatal(err)
		}
	}
	resp, err := http.Get(url + "/demo/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"homes":{"U0ALICE":{`, `"type":"divider"`, `"title":"a.png"`} {
		if !strings.Contains(line, want) {
			t.Errorf("the state lacks %s", want)
		}
	}
	for _, f := range sl.Files() {
		status, body := request(t, "GET", url+"/demo/file/"+f.ID, "", nil)
		if isPicture := f.Title == "a.png"; (status == http.StatusOK) != isPicture || isPicture && body != string(f.Content) {
			t.Errorf("%s: %d %q", f.Title, status, body)
		}
	}
	if status, _ := request(t, "GET", url+"/demo/file/F0", "", nil); status != http.StatusNotFound {
		t.Errorf("a file that is not there: %d", status)
	}
}
