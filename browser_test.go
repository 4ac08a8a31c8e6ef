//go:build browser

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"secbot/internal/sandbox/fakeslack"
	"secbot/remediation"
)

// tab is the demo's page in a browser.
type tab struct {
	t   *testing.T
	ctx context.Context
	d   *demoApp

	mu    sync.Mutex
	noise []string // what stood on the browser's console
}

// openTab starts the demo and opens its page in Chromium, which must be there.
func openTab(t *testing.T) *tab {
	t.Helper()
	d, err := startDemo(t.Context(), "127.0.0.1:0", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	})
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.WindowSize(1360, 900),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true))
	alloc, endAlloc := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(endAlloc)
	b := &tab{t: t, d: d}
	ctx, end := chromedp.NewContext(alloc, chromedp.WithListener(b.listen))
	t.Cleanup(end)
	b.ctx = ctx
	b.do(chromedp.Navigate("about:blank")) // starts the browser, which a deadline here would end
	ctx, endTime := context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(endTime)
	b.ctx = ctx
	if _, err := chromedp.Call(ctx, log.Enable, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}
	b.do(chromedp.Navigate(d.url), chromedp.WaitVisible("#aws article"))
	t.Cleanup(b.quiet)
	return b
}

func (b *tab) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		b.noise = append(b.noise, fmt.Sprintf("%s: %v", e.Type, e.Args))
	case *runtime.EventExceptionThrown:
		b.noise = append(b.noise, fmt.Sprintf("%+v", *e.ExceptionDetails))
	case *log.EventEntryAdded:
		b.noise = append(b.noise, e.Entry.Text+" "+e.Entry.URL)
	}
}

// quiet fails where anything stood on the console.
func (b *tab) quiet() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range b.noise {
		b.t.Errorf("on the browser's console: %s", n)
	}
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.shoot("failed " + b.t.Name())
		b.t.Fatal(err)
	}
}

// is waits until an expression is true on the page.
func (b *tab) is(what, expression string) {
	b.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		ok, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](expression))
		if err != nil {
			b.t.Fatal(err)
		}
		if ok {
			return
		}
		if time.Now().After(deadline) {
			b.shoot("failed " + b.t.Name())
			b.t.Fatalf("in vain: %s", what)
		}
		time.Sleep(30 * time.Millisecond)
	}
}

// run evaluates a statement on the page.
func (b *tab) run(statement string) {
	b.t.Helper()
	b.is(statement, "("+statement+", true)")
}

func quote(s string) string {
	raw, _ := json.Marshal(s) // a string can always be written
	return string(raw)
}

// newest is the newest thing in the channel, without its thread.
const newest = `[...document.querySelectorAll("#channel > article")].at(-1)`

// says waits until the newest message has all these words.
func (b *tab) says(words ...string) {
	b.t.Helper()
	for _, w := range words {
		b.is("the newest message says "+w, fmt.Sprintf(`!!%s?.innerText.includes(%s)`, newest, quote(w)))
	}
}

// shows waits until a resource of the AWS console has these words, or, after
// "!", has them no longer.
func (b *tab) shows(resource string, words ...string) {
	b.t.Helper()
	for _, w := range words {
		text, not := strings.CutPrefix(w, "!")
		b.is(resource+" shows "+w, fmt.Sprintf(`document.querySelector('[data-resource=%s]').innerText.includes(%s) !== %v`, quote(resource), quote(text), not))
	}
}

// wreck presses a button of the AWS console.
func (b *tab) wreck(id, target string) {
	b.t.Helper()
	b.do(chromedp.Click(fmt.Sprintf(`[data-break=%s][data-target=%s]`, quote(id), quote(target))))
}

// press presses a button of the newest message that has it, and says yes to
// what it asks.
func (b *tab) press(action string, confirm bool) {
	b.t.Helper()
	find := fmt.Sprintf(`[...document.querySelectorAll('#channel [data-action=%s]')].at(-1)`, quote(action))
	b.is("there is a button "+action, "!!"+find)
	b.run(find + `.click()`)
	if confirm {
		b.do(chromedp.Click("#confirm-yes", chromedp.NodeVisible))
	}
}

// choose opens the menu of the newest message and takes an option of it.
func (b *tab) choose(label string) {
	b.t.Helper()
	b.is("there is a menu", "!!"+newest+`?.querySelector('[data-more="more"]')`)
	b.run(newest + `.querySelector('[data-more="more"]').click()`)
	option := fmt.Sprintf(`[...document.querySelectorAll(".menu:popover-open button")].find((o) => o.innerText === %s)`, quote(label))
	b.is("the menu has "+label, "!!"+option)
	b.shoot("menu")
	b.run(option + `.click()`)
}

// reads waits until the open modal has these words, keeps a picture and closes it.
func (b *tab) reads(picture string, words ...string) {
	b.t.Helper()
	for _, w := range words {
		b.is("the modal says "+w, fmt.Sprintf(`document.querySelector("#modal").open && document.querySelector("#modal").innerText.includes(%s)`, quote(w)))
	}
	b.shoot(picture)
	b.do(chromedp.Click("#modal-close"))
	b.is("the modal is closed", `!document.querySelector("#modal").open`)
}

func (b *tab) become(user string) {
	b.t.Helper()
	b.do(chromedp.SetValue("#me", user))
	b.run(`document.querySelector("#me").dispatchEvent(new Event("change"))`)
}

func (b *tab) command(text string) {
	b.t.Helper()
	b.do(chromedp.SetValue("#text", text), chromedp.Click("#command button"))
}

// shoot keeps a picture in SECBOT_SCREENSHOTS.
func (b *tab) shoot(name string) {
	dir := os.Getenv("SECBOT_SCREENSHOTS")
	if dir == "" {
		dir = b.t.TempDir()
	}
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)
	}
	if err != nil {
		b.t.Errorf("screenshot %s: %v", name, err)
	}
}

// TestPage plays what a newcomer would do.
func TestPage(t *testing.T) {
	b := openTab(t)
	group := b.d.world.Group

	b.wreck("ssh", group)
	b.says("Security group rule revoked in acme-prod: web", "Closed automatically", "tcp 22 from 0.0.0.0/0")
	b.shows(group, "tcp 443", "!tcp 22")
	b.shoot("ssh-closed")
	b.choose("Show Runbook")
	b.reads("runbook-modal", "Runbook", "a rule was added to a security group", "Check by hand", "aws ec2 describe-security-group-rules")
	b.choose("Show Evidence")
	b.reads("evidence-modal", "Evidence", "AuthorizeSecurityGroupIngress", "user/dana", "tcp 22 from 0.0.0.0/0", "History")
	b.press("undo", true)
	b.says("Undone")
	b.shows(group, "tcp 22", "just for a minute")

	b.wreck("partner", group)
	b.says("Rule added to a security group", "It waits for a decision")
	b.shoot("partner-asked")
	b.become(fakeslack.Mallory)
	b.press("fix", true)
	b.says("Only visible to you", "You are not one of the people who may decide")
	b.shows(group, "198.51.100.0/24")
	b.shoot("stranger-refused")
	b.become(fakeslack.Bob)
	b.press("fix", true)
	b.shows(group, "!198.51.100.0/24")
	b.says("Security group rule revoked in acme-prod: web", "Bob Brown")

	b.wreck("policy", "acme-data")
	b.shows("acme-data", "public by policy")
	b.says("Bucket made public by its policy")
	b.press("fix", true)
	b.shows("acme-data", "!public by policy", "TLSOnly", "!Everybody")
	b.says("Public bucket policy closed")

	b.wreck("acl-read", "acme-site")
	b.says("Bucket made public by its ACL")
	b.press("ignore", false)
	b.do(chromedp.WaitVisible("#modal-form textarea"))
	b.shoot("ignore-modal")
	b.do(chromedp.SendKeys("#modal-form textarea", "it is our web site"), chromedp.Click("#modal-submit"))
	b.says("Ignored", "it is our web site")
	b.shows("acme-site", "public by acl")

	b.command("/secbot incidents")
	b.says("Only visible to you", "undone", "ignored", group)
	b.command("/secbot incidnets")
	b.says("incidents", "/secbot")
	b.shoot("wrong-command")
	b.command("rm -rf")
	b.is("the page says what it takes", `document.querySelector("#failure").innerText.includes("/secbot")`)
}

// turn shows the other conversation.
func (b *tab) turn(to string) {
	b.t.Helper()
	b.do(chromedp.Click("#tab-" + to))
}

// somewhere waits until one of the channel's messages has all these words.
func (b *tab) somewhere(words ...string) {
	b.t.Helper()
	raw, _ := json.Marshal(words) // a list of strings can always be written
	b.is(fmt.Sprintf("a message says %q", words), fmt.Sprintf(
		`[...document.querySelectorAll("#channel > article")].some((m) => %s.every((w) => m.innerText.includes(w)))`, raw))
}

// TestPageDecisions plays what may become of a question: it is ignored and that is
// taken back, it is allowed for a while, two people approve it, and whose change it
// was says that it was not.
func TestPageDecisions(t *testing.T) {
	b := openTab(t)
	group := b.d.world.Group

	b.wreck("acl-read", "acme-site")
	b.says("Bucket made public by its ACL in acme-prod", "acme-prod (111122223333)")
	b.press("ignore", false)
	b.do(chromedp.WaitVisible("#modal-form textarea"))
	b.is("the form counts", `document.querySelector("#modal-body").textContent.includes("would have matched 1 in the last 90 days")`)
	b.shoot("ignore-scope")
	b.do(chromedp.SetValue(`#modal-form select[name^="scope"]`, "resource"),
		chromedp.SendKeys("#modal-form textarea", "it is our web site"), chromedp.Click("#modal-submit"))
	b.says("Ignored", "it is our web site", "whatever else is found on this resource")
	b.press("unignore", false)
	b.says("Open again", "Alice Adams")

	b.wreck("partner", group)
	b.says("Rule added to a security group", "expires")
	b.press("allow_temporarily", true)
	b.says("Allowed by", "Then secbot reverts it by itself")
	b.shoot("allowed")
	b.shows(group, "198.51.100.0/24")
	b.do(chromedp.Click("#pass"))
	b.shows(group, "!198.51.100.0/24")
	b.somewhere("Security group rule revoked in acme-prod: web", "the time for which", "had allowed it is over")

	b.wreck("unblock", "acme-payroll")
	b.says("Block Public Access is off", "acme-payroll")
	b.press("fix", true)
	b.says("Approval needed", "It needs 2 approvals of others")
	b.press("approve", true)
	b.says("Only visible to you", "others have to approve it")
	b.shows("acme-payroll", "Block Public Access\noff")
	b.become(fakeslack.Bob)
	b.press("approve", true)
	b.somewhere("It has 1 of 2 approvals of others, by", "Bob Brown")
	b.shoot("one-approval")
	b.become(fakeslack.Carol)
	b.press("approve", true)
	b.somewhere("turned on again in acme-prod: acme-payroll", "approved by @Bob Brown, @Carol Clark,")
	b.shows("acme-payroll", "all on")

	b.become(fakeslack.Dana)
	b.turn("direct")
	b.says("Was this you?", "acme-payroll")
	b.shoot("was-this-you")
	b.press("actor_no", true)
	b.says("You said that it was not you")
	b.turn("channel")
	b.somewhere("It was not the person whose access was used")
	b.somewhere("acme-payroll", "It was not them", "Critical")
	b.shoot("disowned")
	b.turn("direct")
	b.run(`[...document.querySelectorAll('#channel [data-action="actor_yes"]')][0].click()`)
	b.do(chromedp.WaitVisible("#modal-form textarea"), chromedp.SendKeys("#modal-form textarea", "the site is meant to be read"), chromedp.Click("#modal-submit"))
	b.somewhere("You said that it was you", "the site is meant to be read")
	b.turn("channel")
	b.somewhere("says that it was them: the site is meant to be read")
}

// incidents waits until there are so many, and nothing is due about any.
func (b *tab) incidents(n int) int {
	b.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		all, err := b.d.app.store.Incidents(b.ctx, remediation.IncidentQuery{Limit: 2 * n})
		if err != nil {
			b.t.Fatal(err)
		}
		due, err := b.d.app.store.DueNotices(b.ctx, b.d.world.Clock.Now(), 1)
		if err != nil {
			b.t.Fatal(err)
		}
		if len(all) >= n && len(due) == 0 || time.Now().After(deadline) {
			return len(all)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestPageInAStorm: what is too much for messages of its own is one digest.
func TestPageInAStorm(t *testing.T) {
	b := openTab(t)
	b.wreck("storm", b.d.world.Group)
	b.shows(b.d.world.Group, "tcp 9039")
	b.is("as many have a message as a channel gets in a minute", `document.querySelectorAll("#channel > article").length >= 20`)
	b.is("all forty are told of, or put away", fmt.Sprintf(`%d >= 40`, b.incidents(40)))
	b.do(chromedp.Click("#pass")) // the minute is over
	b.somewhere("more incidents within a minute", "Some of them:")
	b.shoot("storm")
}

// TestPageDrawsEveryMessage draws every message and modal that the bot's golden
// files have.
func TestPageDrawsEveryMessage(t *testing.T) {
	b := openTab(t)
	files, err := filepath.Glob("bot/testdata/*.golden.json")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d golden files, %v", len(files), err)
	}
	for _, path := range files {
		if strings.HasPrefix(filepath.Base(path), "manifest-") {
			continue // an app's settings: nothing to draw
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		drawn, err := chromedp.Run(b.ctx, chromedp.Evaluate[int](fmt.Sprintf(
			`import("/demo/blocks.js").then((m) => m.drawBlocks(%s.blocks, {names: {}, press() {}}).length)`, raw), chromedp.EvalAwaitPromise))
		if err != nil || drawn == 0 {
			t.Errorf("%s: %d blocks drawn, %v", path, drawn, err)
		}
	}
	lists, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`import("/demo/blocks.js").then((m) => m.drawBlocks([{type: "rich_text", elements: [
		{type: "rich_text_list", style: "ordered", indent: 1, offset: 2, elements: [{type: "rich_text_section", elements: [{type: "text", text: "x"}]}]}]}], {names: {}})[0].innerHTML)`, chromedp.EvalAwaitPromise))
	if err != nil || lists != `<ol start="3" data-indent="1"><li><p>x</p></li></ol>` {
		t.Errorf("a list that goes on within another: %s, %v", lists, err)
	}
	refused, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](
		`import("/demo/blocks.js").then((m) => { try { m.drawBlocks([{type: "video"}], {}); return false } catch { return true } })`, chromedp.EvalAwaitPromise))
	if err != nil || !refused {
		t.Errorf("a block that can't be drawn is no error: %v", err)
	}
}

// TestPageOnAPhone: nothing is wider than the screen, in the dark too.
func TestPageOnAPhone(t *testing.T) {
	b := openTab(t)
	b.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateScale(2), chromedp.EmulateMobile))
	dark := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}}
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, dark); err != nil {
		t.Fatal(err)
	}
	b.wreck("ssh", b.d.world.Group)
	b.says("Closed automatically")
	b.is("nothing is cut off at the side", `document.documentElement.scrollWidth <= innerWidth`)
	b.is("it is dark", `getComputedStyle(document.body).backgroundColor === "rgb(26, 29, 33)"`)
	b.shoot("phone")
	b.choose("Show Runbook")
	b.is("the modal fits", `document.querySelector("#modal").getBoundingClientRect().width <= innerWidth && document.querySelector("#modal-body").scrollWidth <= innerWidth`)
	b.reads("phone-runbook", "a rule was added to a security group")
}

// TestPageByKeyboard reaches the command box and a button of a message without
// a mouse.
func TestPageByKeyboard(t *testing.T) {
	b := openTab(t)
	b.wreck("partner", b.d.world.Group)
	b.says("It waits for a decision")
	b.do(chromedp.Focus("#text"))
	b.is("the caret is at the end", `document.querySelector("#text").selectionStart === "/secbot ".length`)
	b.do(chromedp.KeyEvent("incidents\r"))
	b.says("Only visible to you", "/secbot show ID")
	b.is("every control has a name", `[...document.querySelectorAll("button, input, select, textarea")].filter((e) => e.checkVisibility()).every((e) => e.innerText || e.labels?.length)`)
	b.do(chromedp.Focus(`#channel [data-action="ignore"]`), chromedp.KeyEvent("\r"), chromedp.WaitVisible("#modal-form textarea"))
	b.do(chromedp.KeyEvent("\u001b"))
	b.is("Escape closes the modal", `!document.querySelector("#modal").open`)
	b.do(chromedp.Focus(`#channel [data-more="more"]`), chromedp.KeyEvent("\r"), chromedp.KeyEvent("\t"), chromedp.KeyEvent("\r"))
	b.reads("keyboard-runbook", "a rule was added to a security group")
}

// TestPageHome: what waits is decided from the home, which follows; what was fixed
// is undone there, what is ignored is taken up again; and the numbers come with
// their picture.
func TestPageHome(t *testing.T) {
	b := openTab(t)
	group := b.d.world.Group
	b.turn("home")
	b.somewhere("Nothing waits for a decision.", "There was no finding.", "Mode auto")
	b.turn("channel")
	b.wreck("ssh", group)
	b.says("Closed automatically")
	b.wreck("partner", group)
	b.says("Rule added to a security group", "It waits for a decision")
	b.turn("home")
	b.somewhere("Waits for a decision (1)", "Fixed lately (1)", "Go to the message", "The last 30 days", "2 findings in 30 days")
	b.shoot("home")
	b.run(`document.querySelector("#channel .home a").click()`)
	b.is("the link leads to the message", `document.querySelector("#tab-channel").ariaSelected === "true" && `+newest+`.getBoundingClientRect().top < innerHeight`)
	b.turn("home")
	b.press("fix", true)
	b.shows(group, "!198.51.100.0/24")
	b.somewhere("Fixed lately (2)", "Nothing waits for a decision.")
	b.press("undo", true) // the last of them: the SSH rule was fixed first
	b.shows(group, "tcp 22")
	b.somewhere("Let be after an undo", "Fixed lately (1)")
	b.press("unignore", false)
	b.somewhere("Waits for a decision (1)", "Nothing is ignored or allowed.")
	b.press("ignore", false)
	b.do(chromedp.WaitVisible("#modal-form textarea"), chromedp.SendKeys("#modal-form textarea", "the migration needs it"), chromedp.Click("#modal-submit"))
	b.somewhere("Ignored by @Alice Adams", "the migration needs it", "Nothing waits for a decision.")
	b.shoot("home-ignored")
	b.is("the chart is in sight", `(document.querySelector("#channel").scrollTop = 1e6, document.querySelector("#channel").scrollTop > 50)`)
	b.shoot("home-chart")
	b.press("unignore", false)
	b.somewhere("Waits for a decision (1)")

	b.become(fakeslack.Mallory)
	b.press("fix", true)
	b.turn("direct")
	b.somewhere("You are not one of the people who may decide")
	b.turn("home")
	b.press("stats", false)
	b.turn("direct")
	b.somewhere("findings in 30 days")
	b.pictured()

	b.become(fakeslack.Bob)
	b.turn("channel")
	b.command("/secbot stats")
	b.says("Only visible to you", "findings in 30 days", "1 fixed and put back", "Waiting for a decision: 1")
	b.shoot("stats")
	b.turn("direct")
	b.pictured()
	b.shoot("stats-picture")
}

// pictured waits until the conversation has a picture that was loaded.
func (b *tab) pictured() {
	b.t.Helper()
	b.is("there is a picture", `[...document.querySelectorAll("#channel .message img")].some((i) => i.complete && i.naturalWidth === 1320)`)
}

// reveal scrolls to the message that has these words.
func (b *tab) reveal(words string) {
	b.t.Helper()
	b.run(fmt.Sprintf(`[...document.querySelectorAll("#channel > article")].find((m) => m.innerText.includes(%s)).scrollIntoView()`, quote(words)))
}

// TestPageScan: a scan is watched and cancelled while AWS is slow; the next one's
// findings are reverted together but for one; and while secbot is paused it asks.
func TestPageScan(t *testing.T) {
	b := openTab(t)
	group := b.d.world.Group
	b.wreck("forgotten", "account")
	b.is("the project is there", `document.querySelectorAll("#aws article").length > 8`)
	b.do(chromedp.Click("#slow"))
	b.is("AWS is slow", `document.querySelector("#slow").ariaPressed === "true"`)
	b.command("/secbot scan")
	b.somewhere("Scan under way", "Cancel")
	b.is("it shows how far it is", `[...document.querySelectorAll("#channel > article")].some((m) => /Scan under way[^]*[1-9]\d* resources? read/.test(m.innerText))`)
	b.shoot("scan-running")
	b.become(fakeslack.Bob)
	b.press("scan_cancel", false)
	b.somewhere("Scan cancelled", "This is not everything", "@Bob Brown")
	b.shoot("scan-cancelled")
	b.do(chromedp.Click("#slow"))
	b.is("AWS is fast again", `document.querySelector("#slow").ariaPressed === "false"`)

	b.become(fakeslack.Alice)
	b.command("/secbot scan sg")
	b.somewhere("Scan finished", "Fix All…", "for the batch jobs")
	b.reveal("Scan finished")
	b.shoot("scan-finished")
	b.become(fakeslack.Mallory)
	b.press("fix_all", false)
	b.somewhere("Only visible to you", "You are not one of the people who may decide")
	b.become(fakeslack.Bob)
	b.press("fix_all", false)
	b.do(chromedp.WaitVisible("#modal .boxes"))
	b.is("all are ticked", `[...document.querySelectorAll("#modal .boxes input")].every((i) => i.checked)`)
	b.run(`[...document.querySelectorAll("#modal .boxes label")].find((l) => l.innerText.includes("web (")).click()`)
	b.shoot("fix-all")
	b.do(chromedp.Click("#modal-submit"))
	b.somewhere("Scan finished", "· fixed")
	b.is("the project is closed", `![...document.querySelectorAll("#aws tr.world")].some((r) => r.innerText.includes("batch jobs"))`)
	b.shows(group, "the shop")
	b.somewhere("Only visible to you", "Reverted 4 of 4.")
	b.reveal("· fixed")
	b.shoot("fixed-together")

	b.command("/secbot why " + group)
	b.somewhere("Only visible to you", group)
	b.shoot("why")
	b.command("/secbot runbook sg-rule-added")
	b.reads("runbook-command", "Runbook", "a rule was added to a security group")
	b.command("/secbot pause because of the audit")
	b.somewhere("Paused: secbot fixes nothing", "of the audit")
	b.wreck("ssh", group)
	b.somewhere("It waits for a decision", "just for a minute")
	b.shows(group, "tcp 22")
	b.shoot("paused")
	b.turn("home")
	b.somewhere("secbot is paused", "of the audit")
	b.turn("channel")
	b.command("/secbot resume")
	b.somewhere("Resumed: secbot fixes again")
	b.command("/secbot mode ask")
	b.somewhere("Mode: ask for all")
	b.command("/secbot mode")
	b.somewhere("Only visible to you", "ask")
}
