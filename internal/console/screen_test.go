package console_test

import (
	"context"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"gantry/internal/servertest"
	"gantry/internal/session"
)

// screen is a real browser of one width that a person looks at.
type screen struct {
	t    *testing.T
	s    *servertest.Server
	ctx  context.Context
	name string

	mu   sync.Mutex
	said []string // what its console said besides what is harmless
}

// chromium finds the browser, and skips the test without one.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("chromium isn't on this machine: scripts/needs.sh chromium installs it where that is allowed")
	return ""
}

// look opens a browser, as wide as a desk's or a phone's.
func look(t *testing.T, s *servertest.Server, name string, width, height int64, dark bool) *screen {
	t.Helper()
	path := chromium(t)
	root, stop := context.WithTimeout(context.Background(), 3*time.Minute)
	alloc, cancelAlloc := chromedp.NewExecAllocator(root, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.WindowSize(int(width), int(height)), chromedp.Flag("disable-dev-shm-usage", true))...)
	ctx, cancel := chromedp.NewContext(alloc)
	v := &screen{t: t, s: s, ctx: ctx, name: name}
	var heard sync.WaitGroup
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx)
		cancel()
		cancelAlloc()
		stop()
		heard.Wait()
	})
	options := []chromedp.EmulateViewportOption{}
	if width < 500 {
		options = append(options, chromedp.EmulateMobile, chromedp.EmulateTouch)
	}
	v.do(chromedp.EmulateViewport(width, height, options...))
	scheme := map[bool]string{true: "dark", false: "light"}[dark]
	v.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	}))
	messages := chromedp.Console(ctx)
	heard.Go(func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			v.mu.Lock()
			v.said = append(v.said, m.String()+" "+m.URL)
			v.mu.Unlock()
		}
	})
	return v
}

func (v *screen) do(steps ...chromedp.Action[chromedp.Void]) {
	v.t.Helper()
	require.NoError(v.t, chromedp.Do(v.ctx, steps...))
}

func (v *screen) goTo(path string) {
	v.t.Helper()
	v.do(chromedp.Navigate(v.s.URL + path))
}

// is waits until an expression of the page's holds.
func (v *screen) is(expression string) {
	v.t.Helper()
	var last string
	ok := func() bool {
		got, err := chromedp.Run(v.ctx, chromedp.Evaluate[bool]("!!("+expression+")"))
		if err != nil {
			last = err.Error()
		}
		return err == nil && got
	}
	for range int(patience / (50 * time.Millisecond)) {
		if ok() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	v.shoot("failed")
	require.Fail(v.t, "the page never has it so: "+expression, last)
}

// reads waits until the page shows a text.
func (v *screen) reads(text string) {
	v.t.Helper()
	quoted, err := json.Marshal(text)
	require.NoError(v.t, err)
	v.is("document.body.innerText.includes(" + string(quoted) + ")")
}

// tap clicks what a selector finds, once it is there to be seen.
func (v *screen) tap(selector string) {
	v.t.Helper()
	v.is("(e => e && e.checkVisibility() && !e.disabled)(document.querySelector(" + quote(selector) + "))")
	v.do(chromedp.Click(chromedp.CSS(selector)))
}

func (v *screen) write(selector, text string) {
	v.t.Helper()
	v.is("document.querySelector(" + quote(selector) + ")")
	v.do(chromedp.SendKeys(chromedp.CSS(selector), text))
}

func quote(s string) string {
	text, _ := json.Marshal(s)
	return string(text)
}

// fits fails when the page is wider than the screen.
func (v *screen) fits() {
	v.t.Helper()
	wide, err := chromedp.Run(v.ctx, chromedp.Evaluate[string](`(() => {
		const most = document.documentElement.clientWidth;
		if (document.documentElement.scrollWidth <= most) return "";
		const e = [...document.querySelectorAll("main *, header *")].filter(e => e.getBoundingClientRect().right > most + 1 && e.checkVisibility());
		return document.documentElement.scrollWidth + " > " + most + ": " + e.map(e => e.tagName + "." + e.className + "#" + e.id).slice(-4).join(" ");
	})()`))
	require.NoError(v.t, err)
	require.Empty(v.t, wide, "the page is wider than the screen")
}

// shoot keeps a picture of the whole page in the directory of GANTRY_TEST_PAGES, for somebody to look at.
func (v *screen) shoot(what string) {
	dir := os.Getenv("GANTRY_TEST_PAGES")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(v.ctx, chromedp.CaptureScreenshot())
	require.NoError(v.t, err)
	require.NoError(v.t, os.WriteFile(filepath.Join(dir, v.name+"-"+what+".png"), png, 0o600))
}

var screens = []struct {
	name          string
	width, height int64
	dark          bool
}{{"desk", 1280, 900, false}, {"phone", 360, 740, true}}

func TestThePagesWorkInABrowser(t *testing.T) {
	t.Parallel()
	chromium(t)
	for _, c := range screens {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := servertest.New(t, listening)
			admin := s.Admin.Token.Reveal()
			for i, title := range []string{"Upgrade the build to Go 1.26", "Flaky test in the payment service", strings.Repeat("A title that goes on ", 12)} {
				start(t, s, admin, session.CreateParams{OrgID: s.Org, Prompt: "x", Title: title, Tags: []string{"nightly", "team-a"}[:1+i%2]})
			}
			v := look(t, s, c.name, c.width, c.height, c.dark)

			v.goTo("/")
			v.reads("Sign in")
			v.shoot("1-login")
			v.fits()
			v.write("#key", "cog_wrong\r")
			v.reads("This key was not accepted")
			v.shoot("2-refused")
			v.fits()
			v.write("#key", admin+"\r")
			v.reads("Flaky test")
			v.fits()
			v.shoot("4-sessions")
			v.write("input[name=tag]", "team-a")
			v.is("document.querySelectorAll('.sessions .row').length === 1 && location.search.includes('team-a')")
			v.do(chromedp.NavigateBack())
			v.is("document.querySelectorAll('.sessions .row').length === 3")

			v.tap("a.primary")
			v.reads("What is to be done")
			v.fits()
			v.shoot("5-new")
			v.write("#prompt", "Find out why the build is red, and mend it.")
			v.write("input[name=tags]", "from-the-page")
			v.tap("form.stack button.primary")
			v.reads("The session is in the queue")
			v.shoot("6-started")
			v.follows()
			v.keys()
			v.quietly()
		})
	}
}

// A real worker runs a runbook in its sandbox, and the page shows it as it happens.
func TestARunbookIsFollowedInABrowser(t *testing.T) {
	t.Parallel()
	chromium(t)
	if _, err := exec.LookPath("bwrap"); err != nil {
		t.Skip("bubblewrap isn't installed")
	}
	s := servertest.New(t, servertest.Options{Worker: true})
	v := look(t, s, "runbook", 1280, 900, true)
	v.goTo("/login")
	v.write("#key", s.Admin.Token.Reveal()+"\r")
	v.reads("No session was started here yet")
	v.goTo("/orgs/" + s.Org + "/sessions/new?prompt=" + url.QueryEscape("# Look around\n\n```sh\necho \"six times seven is $((6*7))\"\n```\n\n```sh\n"+
		"seq -f '=== RUN TestNumber%g of a long log' 2000; echo '--- FAIL: TestInTheMiddle'; seq -f '=== RUN TestNumber%g of a long log' 2000; ls /nowhere\n```\n"))
	v.tap("form.stack button.primary")
	v.is("[...document.querySelectorAll('pre.output')].some(e => e.textContent.includes('six times seven is 42'))")
	v.is("!document.querySelector('.busy')")
	v.reads("/nowhere")
	v.is(`(box => {
		const text = document.createRange(), at = box.getBoundingClientRect();
		text.selectNodeContents(box);
		const all = text.getBoundingClientRect();
		return all.height > 2*at.height && all.bottom <= at.bottom && all.bottom > at.bottom - 50;
	})([...document.querySelectorAll('pre.output')].at(-1))`) // the box shows the end of what was printed
	v.is(`(r => {
		r.open("GET", document.querySelector('.call a[href$="/output"]').href, false);
		r.send();
		return r.responseText.split("\n").length === 4003 && r.responseText.includes("--- FAIL: TestInTheMiddle\n");
	})(new XMLHttpRequest())`)
	v.is("!document.body.innerText.includes('hortened')")
	v.fits()
	v.shoot("1-ended")
	v.quietly()
}

// follows looks at the session that was just started while it works.
func (v *screen) follows() {
	v.t.Helper()
	id, err := chromedp.Run(v.ctx, chromedp.Evaluate[string]("location.pathname.split('/').pop()"))
	require.NoError(v.t, err)
	w := v.claim(id)
	w.report("setup", `{"phase":"clone","status":"done","millis":1200}`, "agent", `{"status":"started","name":"runbook","version":"1"}`,
		"state", `{"state":"working"}`)
	v.reads("Working")
	v.reads("Clone · 1.2 s")
	w.report(
		"thought", `{"text":"The log names a missing import. I look at the file, and at who changed it last."}`,
		"plan", `{"entries":[{"content":"Read the log","status":"completed"},{"content":"Mend the import","status":"in_progress"},{"content":"Run the tests","status":"pending"}]}`,
		"tool", `{"id":"c1","title":"go build ./...","kind":"execute","status":"in_progress","input":{"command":"go build ./..."}}`,
		"tool_output", `{"id":"c1","text":"\u001b[31mmain.go:3:8: package foo is not in std\u001b[0m\n"}`,
	)
	v.reads("go build ./...")
	w.report("tool", `{"id":"c1","status":"failed","exit_code":1}`)
	v.reads("exit status 1")
	v.is("document.querySelectorAll('.entry.tool').length === 1 && document.querySelector('.entry.tool details').open")
	v.tap(".entry.tool summary")
	w.report(
		"tool_output", `{"id":"c1","text":"one more line\n"}`,
		"tool", `{"id":"c2","title":"Edit main.go","kind":"edit","status":"completed","output":{"diffs":[{"path":"main.go","old_text":"package main\n\nimport \"foo\"\n\nfunc main() {\n\tfoo.Run()\n}\n","new_text":"package main\n\nimport \"example.com/foo\"\n\nfunc main() {\n\tfoo.Run()\n}\n"}]}}`,
		"message", `{"text":"The import was **wrong** since Tuesday. I mended it:\n\n- `+"`main.go`"+` imports `+"`example.com/foo`"+`\n- the tests pass\n\n`+"```go\\nimport \\\"example.com/foo\\\"\\n```"+`\n\nShall I open a pull request?"}`,
	)
	v.reads("Shall I open a pull request?")
	v.is("!document.querySelector('.entry.tool details').open") // what somebody closed stays closed
	v.tap(".entry.tool:nth-of-type(n+2) ~ .entry.tool summary, .entry.tool + .entry.tool summary")
	w.report("state", `{"state":"waiting_for_user","reason":"Shall I open a pull request?"}`)
	v.reads("Waits for you")
	v.fits()
	v.shoot("7-session")
	v.write("#message", "Yes, please.")
	v.tap("#composer button")
	v.is("[...document.querySelectorAll('.entry.user')].some(e => e.innerText.includes('Yes, please.')) && document.querySelector('#message').value === ''")
	w = v.claim(id)
	w.report("permission", `{"request":"r1","status":"requested","title":"git push origin mend-import","options":[{"id":"yes","name":"Allow once","kind":"allow_once"},{"id":"no","name":"Refuse","kind":"reject_once"}]}`,
		"state", `{"state":"waiting_for_approval"}`)
	v.reads("May the agent do this?")
	v.fits()
	v.shoot("8-question")
	before := v.commands(id)
	v.tap(".question button.primary")
	require.Eventually(v.t, func() bool { return v.commands(id) > before }, patience, step)
	w.report("permission", `{"request":"r1","status":"granted","option":"yes"}`, "state", `{"state":"working"}`,
		"pull_request", `{"url":"https://git.example.com/acme/app/pull/31","state":"open"}`)
	v.reads("Allowed: Allow once")
	v.reads("PR 31 open")
	v.is("!document.querySelector('.question button') && !document.querySelector('#notice .bad')")
	v.attacked(w)
	v.tap("#head button.danger")
	v.reads("End this session?")
	v.shoot("9-end")
	v.tap("#stop button.danger")
	v.reads("It can't be woken")
	v.is("!document.querySelector(':popover-open')")
	v.shoot("10-ended")
}

// commands is how many commands a session was given.
func (v *screen) commands(id string) int64 {
	v.t.Helper()
	s, err := v.s.Sessions.Find(v.t.Context(), v.s.Org, id)
	require.NoError(v.t, err)
	return s.LastCommand
}

// claim takes a session for the test's worker, and those that wait before it.
func (v *screen) claim(id string) *worker {
	v.t.Helper()
	for {
		if w := claim(v.t, v.s, v.s.Org); w.c.SessionID == id {
			return w
		}
	}
}

// attacked has the agent say what would run if the page took it for more than a text.
func (v *screen) attacked(w *worker) {
	v.t.Helper()
	w.report("message", `{"text":`+quote(attack)+`}`, "tool", `{"id":"x","title":`+quote(attack)+`,"status":"completed"}`,
		"tool_output", `{"id":"x","text":`+quote(attack)+`}`, "log", `{"level":"error","text":`+quote(attack)+`}`)
	v.reads("alert(3)")
	v.is("document.querySelectorAll('main script, main svg, .story img, [onerror], [onload]').length === 0")
}

// keys makes a key, copies it, and revokes it.
func (v *screen) keys() {
	v.t.Helper()
	v.goTo("/orgs/" + v.s.Org + "/keys")
	v.reads("Service users")
	v.fits()
	v.shoot("11-keys")
	v.tap("form[action$='/organization'] button")
	v.reads("It is shown this once.")
	token, err := chromedp.Run(v.ctx, chromedp.Evaluate[string]("document.getElementById('token').value"))
	require.NoError(v.t, err)
	require.Regexp(v.t, `^apk_[a-z2-7]{52}$`, token)
	v.fits()
	v.shoot("12-fresh")
	works := func() int { return v.s.Do(v.t, "GET", "/v1/sessions", token, "").Status }
	require.Equal(v.t, 200, works())
	v.tap("[data-copy]")
	v.reads("Copied")
	v.goTo("/orgs/" + v.s.Org + "/keys")
	v.reads("Organization key")
	v.tap("[popovertarget^=revoke-older]")
	v.reads("Whatever uses it is refused")
	v.fits()
	v.shoot("13-revoke")
	v.tap(".dialog:popover-open button.danger")
	v.is("!document.body.innerText.includes('Organization key\\n') && !document.querySelector(':popover-open')")
	require.Equal(v.t, 401, works())

	v.tap("summary.button")
	v.write("details.add input[name=name]", "nightly-builder")
	v.tap("details.add button.primary")
	v.reads("It is shown this once.")
	v.reads("nightly-builder")
	v.fits()
	v.shoot("14-robot")
}

// quietly fails when the browser complained of anything but what the test asked for.
func (v *screen) quietly() {
	v.t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, m := range v.said {
		if strings.HasPrefix(m, "debug: ") || strings.HasPrefix(m, "info: ") || (strings.Contains(m, "401 (Unauthorized)") && strings.Contains(m, "/login")) {
			continue // advice, and the wrong key
		}
		require.Fail(v.t, "the browser complains", m)
	}
}
