package console_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/org"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/playbook"
	"gantry/internal/servertest"
	"gantry/internal/session"
	"gantry/internal/usage"
)

func TestSessionsAreListedFilteredAndPaged(t *testing.T) {
	t.Parallel()
	servertest.Each(t, listening, func(t *testing.T, s *servertest.Server) {
		user, token := s.NewPerson(t, "ada@example.com", s.Org, access.RoleOrgAdmin)
		robot := s.NewKey(t, s.Org, access.RoleOrgMember)
		for i := range 34 {
			start(t, s, robot.Token, session.CreateParams{OrgID: s.Org, Prompt: "x", Title: fmt.Sprintf("number %02d.", i), Tags: []string{"robot"}})
		}
		hers := start(t, s, token, session.CreateParams{OrgID: s.Org, Prompt: "x", Title: "her own", Tags: []string{"rare", "robot"}, Origin: "webapp"})
		gone := start(t, s, token, session.CreateParams{OrgID: s.Org, Prompt: "x", Title: "put away"})
		_, err := s.Sessions.Archive(t.Context(), s.Root(), s.Org, gone.ID)
		require.NoError(t, err)
		require.NotEmpty(t, user)
		b := signedIn(t, s, token)
		path := "/orgs/" + s.Org + "/sessions"
		p := b.get(path)
		require.Equal(t, http.StatusOK, p.status)
		shows(t, p.body, "her own")
		shows(t, p.body, "number 33.")
		shows(t, p.body, "a service user")
		hides(t, p.body, "put away")
		hides(t, p.body, "number 02.")
		next := between(t, p.body, `<a class="button" href="`, `"`)
		more := b.get(unescape(next))
		shows(t, more.body, "number 02.")
		hides(t, more.body, "number 33.")
		shows(t, more.body, "<html", "the next page is a page of its own too")
		hides(t, b.get(unescape(next), asScript...).body, "<html")
		for query, want := range map[string]string{
			"tag=rare": "her own", "mine=1": "her own", "archived=1": "put away", "origin=webapp": "her own", "tag=rare&since=day": "her own",
		} {
			p := b.get(path + "?" + query)
			shows(t, p.body, want, query)
			hides(t, p.body, "number ", query)
		}
		shows(t, b.get(path+"?tag=none-such").body, "No session fits")
		require.Equal(t, http.StatusUnprocessableEntity, b.get(path+"?tag=rare&"+strings.SplitAfter(unescape(next), "?")[1]).status, "another list's cursor is refused")
		shows(t, b.get(path+"?tag=rare", asScript...).body, hers.ID)
	})
}

func TestASessionIsStartedByTheForm(t *testing.T) {
	t.Parallel()
	servertest.Each(t, listening, func(t *testing.T, s *servertest.Server) {
		b := signedIn(t, s, s.Admin.Token.Reveal())
		book, err := s.Playbooks.Create(t.Context(), s.Root(), playbook.Params{OrgID: s.Org, Title: "How we test", Body: "steps"})
		require.NoError(t, err)
		path := "/orgs/" + s.Org + "/sessions"
		shows(t, b.get(path+"/new").body, "How we test")
		form := url.Values{
			"prompt": {"Make it work\nand test it"}, "repos": {"one/repo\r\ntwo/repo"}, "tags": {"a, b"}, "playbook": {book.ID}, "max_acu": {"7"}, "title": {""},
		}
		p := b.post(path, form)
		require.Equal(t, http.StatusUnprocessableEntity, p.status, "these repositories aren't listed")
		shows(t, p.body, "Make it work\nand test it", "what was written is kept")
		shows(t, p.body, `value="7"`)
		shows(t, p.body, "Not started.")
		form.Set("repos", "")
		p = b.post(path, form)
		require.Equal(t, http.StatusOK, p.status)
		require.Regexp(t, `^/sessions/[0-9a-f]{32}\?done=created$`, p.path)
		made, err := s.Sessions.Find(t.Context(), s.Org, p.path[len("/sessions/"):len("/sessions/")+32])
		require.NoError(t, err)
		require.Equal(t, []string{"a", "b"}, made.Tags)
		require.Equal(t, int64(7), made.MaxACU)
		require.Equal(t, book.ID, made.PlaybookID)
		require.Equal(t, "webapp", made.Origin)
		shows(t, p.body, "How we test")

		again := b.get(path + "/new?from=" + made.ID)
		shows(t, again.body, "Make it work\nand test it")
		for name, form := range map[string]url.Values{
			"no prompt": {"prompt": {" "}}, "no number": {"prompt": {"x"}, "max_acu": {"many"}}, "a long title": {"prompt": {"x"}, "title": {strings.Repeat("x", 1001)}},
		} {
			require.Equal(t, http.StatusUnprocessableEntity, b.post(path, form).status, name)
		}
	})
}

func TestAUsedUpLimitIsSaidWhereASessionIsStarted(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, listening)
	none := int64(0)
	_, err := s.Orgs.Update(t.Context(), s.Root(), org.UpdateParams{OrgID: s.Org, CycleLimit: org.LimitChange{Set: true, Value: &none}})
	require.NoError(t, err)
	b := signedIn(t, s, s.Admin.Token.Reveal())
	p := b.post("/orgs/"+s.Org+"/sessions", url.Values{"prompt": {"Make it work"}})
	require.Equal(t, http.StatusConflict, p.status)
	shows(t, p.body, "Make it work")
	shows(t, p.body, "limit")
}

func TestTheListSaysWhatTheCycleUsedAndWhoWorks(t *testing.T) {
	t.Parallel()
	noon := clock.NewFake(time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC))
	servertest.Each(t, servertest.Options{Listen: true, Clock: noon}, func(t *testing.T, s *servertest.Server) {
		many := int64(50)
		_, err := s.Orgs.Update(t.Context(), s.Root(), org.UpdateParams{OrgID: s.Org, CycleLimit: org.LimitChange{Set: true, Value: &many}})
		require.NoError(t, err)
		key := s.NewKey(t, s.Org, access.RoleOrgMember)
		made := start(t, s, key.Token, session.CreateParams{OrgID: s.Org, Prompt: "x"})
		now := s.DB.Clock().Now()
		require.NoError(t, s.DB.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			w := usage.Work{SessionID: made.ID, OrgID: s.Org, ServiceUserID: key.ServiceUserID, Start: now, From: now, To: now.Add(630 * time.Minute)}
			_, err := s.Usage.EnterTx(ctx, tx, w)
			return err
		}))
		path := "/orgs/" + s.Org + "/sessions"
		p := signedIn(t, s, s.Admin.Token.Reveal()).get(path)
		shows(t, p.body, "42.00 of 50 ACU")
		shows(t, p.body, "1 session<")
		shows(t, p.body, "No worker is available")
		p = signedIn(t, s, key.Token).get(path)
		hides(t, p.body, "This billing cycle", "a member may not read consumption")
		hides(t, p.body, "No worker", "nor who works")
	})
}

// story is what a session did that shows each sort of entry.
func story(t *testing.T, s *servertest.Server) (*session.Session, *worker) {
	t.Helper()
	made := start(t, s, s.Admin.Token.Reveal(), session.CreateParams{OrgID: s.Org, Prompt: "Fix the *build*", Title: "The whole story"})
	w := claim(t, s, s.Org)
	w.report(
		"setup", `{"phase":"clone","status":"started"}`,
		"setup", `{"phase":"clone","status":"done","millis":1200}`,
		"agent", `{"status":"started","name":"runbook","version":"1"}`,
		"state", `{"state":"working"}`,
		"turn", `{"status":"started","command":1}`,
		"thought", `{"text":"first I look around"}`,
		"plan", `{"entries":[{"content":"look","status":"completed"},{"content":"mend","status":"in_progress"}]}`,
		"tool", `{"id":"c1","title":"go build ./...","kind":"execute","status":"in_progress","input":{"command":"go build ./..."}}`,
		"tool_output", `{"id":"c1","text":"\u001b[31mmain.go:3: undefined\u001b[0m\n"}`,
		"tool", `{"id":"c1","status":"failed","exit_code":1}`,
		"tool", `{"id":"c2","title":"edit main.go","kind":"edit","status":"completed","output":{"diffs":[{"path":"main.go","old_text":"a\nb\nc\n","new_text":"a\nB\nc\n"}]}}`,
		"log", `{"level":"warning","text":"the disk is nearly full"}`,
		"pull_request", `{"url":"https://git.example.com/one/repo/pull/7","state":"open"}`,
		"message", `{"text":"I **mended** it"}`,
	)
	return made, w
}

func TestASessionsPageTellsItsWholeStory(t *testing.T) {
	t.Parallel()
	servertest.Each(t, listening, func(t *testing.T, s *servertest.Server) {
		made, w := story(t, s)
		b := signedIn(t, s, s.Admin.Token.Reveal())
		p := b.get("/sessions/" + made.ID)
		require.Equal(t, http.StatusOK, p.status)
		for _, want := range []string{
			"The whole story", "Fix the <em>build</em>", "Clone · 1.2 s", "Agent started runbook 1", "Thought: first I look around", "go build ./...",
			"main.go:3: undefined", "exit status 1", "failed", "the disk is nearly full", "I <strong>mended</strong> it", "PR 7", "Working",
			`<span class="d del">-b`, `<span class="d add">+B`, "Taken by the worker worker-of-the-test", `<li class="now">mend</li>`,
		} {
			shows(t, p.body, want)
		}
		hides(t, p.body, "[31m", "colours of a terminal are left out")
		hides(t, p.body, "Clone …", "a phase shows once")
		w.report("state", `{"state":"waiting_for_user","reason":"which branch?"}`, "turn", `{"status":"ended","command":1,"stop_reason":"end_turn"}`)
		p = b.get("/sessions/" + made.ID)
		shows(t, p.body, "Waits for you")
		shows(t, p.body, "Which branch?")
	})
}

func TestAnEndedSessionSaysWhyAndWhatNext(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, listening)
	made, w := story(t, s)
	w.report("setup", `{"phase":"sandbox","status":"failed","detail":"no user namespaces"}`, "state", `{"state":"error","reason":"the sandbox can't start"}`)
	b := signedIn(t, s, s.Admin.Token.Reveal())
	p := b.get("/sessions/" + made.ID)
	for _, want := range []string{"Failed", "The sandbox can&#39;t start.", "Sandbox failed", "no user namespaces", "start it again as a new session", "Start again"} {
		shows(t, p.body, want)
	}
	hides(t, p.body, "<textarea", "nothing more can be said to it")
	hides(t, p.body, "data-live")

	made, _ = story(t, s)
	_, err := s.Sessions.Terminate(t.Context(), s.Root(), s.Org, made.ID, false)
	require.NoError(t, err)
	p = b.get("/sessions/" + made.ID)
	shows(t, p.body, "Ended")
	hides(t, p.body, "have it go on", "nobody can")
}

// quotedValue is an attribute's: what is in it is a text.
var quotedValue = regexp.MustCompile(`"[^"]*"`)

// attack is a text that would run if anything took it for more than a text.
const attack = `<script>alert(1)</script><img src=x onerror=alert(2)>"'><svg/onload=alert(3)>[x](javascript:alert(4))![y](https://evil.test/p.png)<b>bold</b>`

func TestTextsOfOthersStayTexts(t *testing.T) {
	t.Parallel()
	servertest.Each(t, listening, func(t *testing.T, s *servertest.Server) {
		quoted := fmt.Sprintf("%q", attack)
		robot, key, err := s.Members.Provision(t.Context(), s.Root(), provision(s.Org, attack))
		require.NoError(t, err)
		require.NotEmpty(t, robot.ID)
		made := start(t, s, key.Token.Reveal(), session.CreateParams{OrgID: s.Org, Prompt: attack, Title: attack, Tags: []string{attack[:50]}})
		w := claim(t, s, s.Org)
		b := signedIn(t, s, s.Admin.Token.Reveal())
		stream := b.follow("/sessions/" + made.ID + "/live?after=1")
		w.report(
			"setup", `{"phase":`+quoted+`,"status":"failed","detail":`+quoted+`}`,
			"agent", `{"status":"exited","name":`+quoted+`,"detail":`+quoted+`}`,
			"state", `{"state":"working"}`,
			"message", `{"text":`+quoted+`}`,
			"thought", `{"text":`+quoted+`}`,
			"plan", `{"entries":[{"content":`+quoted+`,"status":"pending"}]}`,
			"tool", `{"id":`+quoted+`,"title":`+quoted+`,"kind":`+quoted+`,"status":"in_progress","input":`+quoted+`,"paths":[`+quoted+`]}`,
			"tool_output", `{"id":`+quoted+`,"text":`+quoted+`}`,
			"tool", `{"id":"d","status":"completed","output":{"diffs":[{"path":`+quoted+`,"old_text":null,"new_text":`+quoted+`}]}}`,
			"log", `{"level":"error","text":`+quoted+`}`,
			"pull_request", `{"url":"https://git.example.com/x\"onmouseover=\"alert(5)","state":`+quoted+`}`,
			"permission", `{"request":`+quoted+`,"status":"requested","title":`+quoted+`,"options":[{"id":`+quoted+`,"name":`+quoted+`,"kind":"allow_once"}]}`,
			"state", `{"state":"waiting_for_approval","reason":`+quoted+`}`,
		)
		_, err = s.Sessions.UploadByAgent(t.Context(), w.c.Row, attack, strings.NewReader("x"))
		require.NoError(t, err)
		sent := ""
		for !strings.Contains(sent, "Asks for permission") {
			sent += stream.next()
		}
		pages := map[string]string{"the stream": sent}
		for _, path := range []string{"/sessions/" + made.ID, "/orgs/" + s.Org + "/sessions", "/orgs/" + s.Org + "/keys", "/orgs/" + s.Org + "/sessions/new?from=" + made.ID} {
			pages[path] = b.get(path).body
		}
		for name, body := range pages {
			shows(t, body, "alert(1)", name)
			require.NotRegexp(t, `<script>|<img src=x|<svg/|<b>bold|href="javascript|src="https://evil`, body, name)
			require.NotRegexp(t, `<[^>]*[\s/]on(error|load|mouseover)=`, quotedValue.ReplaceAllString(body, `""`), name)
		}
	})
}

func TestEventsArriveAsTheyHappenAndOnce(t *testing.T) {
	t.Parallel()
	servertest.Each(t, listening, func(t *testing.T, s *servertest.Server) {
		made, w := story(t, s)
		b := signedIn(t, s, s.Admin.Token.Reveal())
		after := between(t, b.get("/sessions/"+made.ID).body, `data-after="`, `"`)
		live := b.follow("/sessions/" + made.ID + "/live?after=" + after)
		first := live.next()
		require.Contains(t, first, `id="head"`, "a page that was read a while ago is brought up to date")
		require.NotContains(t, first, "mended", "what the page has isn't sent again")
		w.report("tool", `{"id":"c9","title":"sleep 1","status":"in_progress"}`)
		one := live.until("sleep 1")
		id := between(t, one, `<li id="t`, `"`)
		w.report("tool_output", `{"id":"c9","text":"awake\n"}`, "tool", `{"id":"c9","status":"completed"}`)
		two := live.until("awake")
		require.Contains(t, two, `<li id="t`+id+`"`, "a call is shown again in its place")
		require.Contains(t, two, "sleep 1", "with what was known of it")
		last := between(t, two, "id: ", "\n")

		// A page that was away goes on where it was, in the middle of a call too.
		w.report("tool", `{"id":"c10","title":"make test","status":"in_progress"}`)
		live.until("make test")
		w.report("tool_output", `{"id":"c10","text":"PASS\n"}`)
		back := b.follow("/sessions/" + made.ID + "/live?after=" + last)
		got := back.until("PASS")
		require.Contains(t, got, "make test")
		require.NotContains(t, got, "awake")

		_, err := s.Sessions.Terminate(t.Context(), s.Root(), s.Org, made.ID, false)
		require.NoError(t, err)
		back.until("event: over")
		require.Eventually(t, back.over, patience, step)
	})
}

func TestALongSessionShowsItsEndAndWhatCameBefore(t *testing.T) {
	t.Parallel()
	servertest.Each(t, listening, func(t *testing.T, s *servertest.Server) {
		made := start(t, s, s.Admin.Token.Reveal(), session.CreateParams{OrgID: s.Org, Prompt: "the very beginning", Title: "Long"})
		w := claim(t, s, s.Org)
		for i := range 12 {
			var events []string
			for k := range 100 {
				events = append(events, "message", fmt.Sprintf(`{"text":"said %d."}`, i*100+k))
			}
			w.report(events...)
		}
		b := signedIn(t, s, s.Admin.Token.Reveal())
		path, body, seen := "/sessions/"+made.ID, "", 0
		p := b.get(path)
		shows(t, p.body, "said 1199.")
		hides(t, p.body, "the very beginning")
		for {
			seen += strings.Count(p.body, "said ")
			body += p.body
			if !strings.Contains(p.body, `id="earlier"`) {
				break
			}
			p = b.get(unescape(between(t, p.body, `hx-get="`, `"`)), asScript...)
			hides(t, p.body, "<html")
		}
		require.Equal(t, 1200, seen, "nothing is left out and nothing comes twice")
		shows(t, body, "the very beginning")
	})
}

func TestALargeEventIsShortenedAndThereAsAWhole(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, listening)
	made := start(t, s, s.Admin.Token.Reveal(), session.CreateParams{OrgID: s.Org, Prompt: "x"})
	claim(t, s, s.Org).report("message", `{"text":"`+strings.Repeat("long ", 30_000)+`the end <script>"}`)
	b := signedIn(t, s, s.Admin.Token.Reveal())
	p := b.get("/sessions/" + made.ID)
	hides(t, p.body, "the end")
	whole := b.get(between(t, p.body, `Shortened: <a href="`, `"`))
	require.Equal(t, http.StatusOK, whole.status)
	shows(t, whole.body, "the end")
	require.Equal(t, "text/plain; charset=utf-8", whole.header.Get("Content-Type"))
	require.Contains(t, whole.header.Get("Content-Security-Policy"), "sandbox")
}

func TestMessagesAndButtonsReachTheSession(t *testing.T) {
	t.Parallel()
	servertest.Each(t, listening, func(t *testing.T, s *servertest.Server) {
		made, w := story(t, s)
		b := signedIn(t, s, s.Admin.Token.Reveal())
		path := "/sessions/" + made.ID
		p := b.post(path+"/message", url.Values{"message": {"and <now> this"}})
		require.Equal(t, http.StatusOK, p.status)
		shows(t, p.body, "and &lt;now&gt; this")
		p = b.post(path+"/message", url.Values{"message": {"by script"}}, asScript...)
		require.Equal(t, http.StatusOK, p.status)
		hides(t, p.body, "<html")
		shows(t, p.body, `id="composer"`)
		hides(t, p.body, "by script", "the field is empty again")
		p = b.post(path+"/message", url.Values{"message": {"  "}}, asScript...)
		require.Equal(t, http.StatusUnprocessableEntity, p.status)
		shows(t, p.body, "Not sent.")

		w.report("permission", `{"request":"r1","status":"requested","title":"rm -rf build","options":[{"id":"yes","name":"Allow","kind":"allow_once"}]}`,
			"state", `{"state":"waiting_for_approval"}`)
		shows(t, b.get(path).body, "rm -rf build")
		require.Equal(t, http.StatusConflict, b.post(path+"/approve", url.Values{"request": {"r0"}, "option": {"yes"}}).status)
		shows(t, b.post(path+"/approve", url.Values{"request": {"r1"}, "option": {"yes"}}).body, "Your answer is with the agent")

		shows(t, b.post(path+"/tags", url.Values{"tags": {"x, y"}}).body, "Tags: x, y")
		shows(t, b.post(path+"/archive", nil).body, "Show in lists again")
		shows(t, b.post(path+"/unarchive", nil, asScript...).body, `id="head"`)
		shows(t, b.post(path+"/stop", nil).body, "It can&#39;t be woken")
		p = b.post(path+"/message", url.Values{"message": {"too late"}})
		require.Equal(t, http.StatusConflict, p.status)
		shows(t, p.body, "Session has ended")
		require.Equal(t, http.StatusNotFound, b.post(path+"/explode", nil).status)
	})
}

func TestWhoOnlyReadsIsOfferedNothingElse(t *testing.T) {
	t.Parallel()
	servertest.Each(t, listening, func(t *testing.T, s *servertest.Server) {
		made, _ := story(t, s)
		reader := s.NewKey(t, s.Org, s.NewRole(t, access.Org, access.ViewOrgSessions))
		b := signedIn(t, s, reader.Token)
		path := "/sessions/" + made.ID
		p := b.get(path)
		require.Equal(t, http.StatusOK, p.status)
		shows(t, p.body, "I <strong>mended</strong> it")
		hides(t, p.body, `action="`+path)
		hides(t, p.body, "<textarea")
		hides(t, b.get("/orgs/"+s.Org+"/sessions").body, "New session")
		shows(t, b.get("/orgs/"+s.Org+"/keys").body, "manage keys here")
		for _, action := range []string{"message", "stop", "archive", "unarchive", "approve", "tags"} {
			p := b.post(path+"/"+action, url.Values{"message": {"m"}, "tags": {"t"}, "request": {"r"}, "option": {"o"}})
			require.Equal(t, http.StatusForbidden, p.status, action)
			shows(t, p.body, "ManageOrgSessions", action)
		}
		require.Equal(t, http.StatusForbidden, b.post("/orgs/"+s.Org+"/sessions", url.Values{"prompt": {"x"}}).status)
		require.Equal(t, http.StatusForbidden, b.get("/orgs/"+s.Org+"/sessions/new").status)
		outsider := s.NewKey(t, s.Org, s.NewRole(t, access.Org, access.ViewOrgMetrics))
		require.Equal(t, http.StatusForbidden, signedIn(t, s, outsider.Token).get(path).status)
	})
}

func TestAFileIsHandedOutAndNeverShown(t *testing.T) {
	t.Parallel()
	servertest.Each(t, listening, func(t *testing.T, s *servertest.Server) {
		made, w := story(t, s)
		reply, err := s.Sessions.UploadByAgent(t.Context(), w.c.Row, "report.html", strings.NewReader("<script>alert(1)</script>"))
		require.NoError(t, err)
		w.report("attachment", `{"id":"`+reply.ID+`","name":"report.html","size":25}`)
		b := signedIn(t, s, s.Admin.Token.Reveal())
		p := b.get("/sessions/" + made.ID)
		shows(t, p.body, "report.html")
		file := b.get("/sessions/" + made.ID + "/files/" + reply.ID)
		require.Equal(t, http.StatusOK, file.status)
		require.Equal(t, "<script>alert(1)</script>", file.body)
		require.Contains(t, file.path, "/downloads/")
		require.Contains(t, file.header.Get("Content-Disposition"), "attachment")
		require.Contains(t, file.header.Get("Content-Security-Policy"), "sandbox")
	})
}

func TestFilesGoWithAMessageAndWithANewSession(t *testing.T) {
	t.Parallel()
	servertest.Each(t, listening, func(t *testing.T, s *servertest.Server) {
		b := signedIn(t, s, s.Admin.Token.Reveal())
		p := b.upload("/orgs/"+s.Org+"/sessions", url.Values{"prompt": {"read these"}}, "log.txt", "one", "../<b>.txt", "two", "", "")
		require.Equal(t, http.StatusOK, p.status, p.body)
		shows(t, p.body, "log.txt")
		shows(t, p.body, "&lt;b&gt;.txt")
		path := p.path[:len("/sessions/")+32]
		p = b.upload(path+"/message", url.Values{"message": {"and this"}}, "more.bin", strings.Repeat("x", 1<<20))
		shows(t, p.body, "more.bin")
		shows(t, p.body, "1.0 MiB")
		files, err := s.Sessions.Attachments(t.Context(), s.Root(), s.Org, strings.TrimPrefix(path, "/sessions/"))
		require.NoError(t, err)
		require.Len(t, files, 3)
		require.Equal(t, http.StatusUnprocessableEntity, b.upload(path+"/message", url.Values{"message": {""}}, "lost.txt", "x").status)

		require.Contains(t, open(t, s).upload(path+"/message", url.Values{"message": {"m"}}, "big.bin", strings.Repeat("x", 1<<20)).path, "/login")
		reader := s.NewKey(t, s.Org, s.NewRole(t, access.Org, access.ViewOrgSessions, access.ManageOrgSessions))
		require.Equal(t, http.StatusForbidden, signedIn(t, s, reader.Token).upload(path+"/message", url.Values{"message": {"m"}}, "no.txt", "x").status)
		hides(t, signedIn(t, s, reader.Token).get(path).body, `type="file"`)
	})
}

func TestADeletedOrganizationIsGone(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, listening)
	o := s.NewOrg(t, "Brief")
	made := start(t, s, s.Admin.Token.Reveal(), session.CreateParams{OrgID: o, Prompt: "x"})
	b := signedIn(t, s, s.Admin.Token.Reveal())
	shows(t, b.get("/").body, "Brief")
	_, err := s.Orgs.Delete(t.Context(), s.Root(), o)
	require.NoError(t, err)
	hides(t, b.get("/").body, "Brief")
	require.Eventually(t, func() bool { return b.get("/sessions/"+made.ID).status == http.StatusNotFound }, patience, step)
}

func between(t *testing.T, s, before, after string) string {
	t.Helper()
	_, rest, ok := strings.Cut(s, before)
	require.True(t, ok, "%q isn't in %s", before, s)
	out, _, ok := strings.Cut(rest, after)
	require.True(t, ok)
	return out
}

func unescape(s string) string { return strings.ReplaceAll(s, "&amp;", "&") }
