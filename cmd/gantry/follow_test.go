package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/client"
)

const (
	testPatience = 10 * time.Second
	testStep     = 5 * time.Millisecond
)

func TestExitCodesSayHowASessionStands(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status, detail string
		finished       bool
		want           int
	}{
		{"running", "finished", true, exitOK},
		{"running", "waiting_for_user", false, exitWaiting},
		{"running", "waiting_for_approval", false, exitWaiting},
		{"error", "", false, exitError},
		{"suspended", "error", false, exitError},
		{"exit", "", true, exitTerminated},
		{"suspended", "usage_limit_exceeded", true, exitLimit},
		{"suspended", "org_usage_limit_exceeded", false, exitLimit},
		{"suspended", "user_usage_limit_exceeded", false, exitLimit},
		{"suspended", "total_session_limit_exceeded", false, exitLimit},
		{"suspended", "out_of_credits", false, exitLimit},
		{"suspended", "out_of_quota", false, exitLimit},
		{"suspended", "no_quota_allocation", false, exitLimit},
		{"suspended", "inactivity", true, exitOK},
		{"suspended", "inactivity", false, exitWaiting},
		{"suspended", "user_request", true, exitOK},
		{"suspended", "user_request", false, exitWaiting},
	} {
		e := ending{session: client.Session{Status: c.status, StatusDetail: c.detail}, finished: c.finished}
		require.Equal(t, c.want, e.code(), "%+v", c)
		require.True(t, stopped(c.status, c.detail), "%+v", c)
	}
	for _, s := range []string{"new", "claimed", "running", "resuming"} {
		require.False(t, stopped(s, ""), s)
	}
	require.False(t, stopped("running", "working"))
	ended := client.Session{Status: "exit"}
	require.Equal(t, exitOK, ending{session: ended, finished: true, slept: true}.code(), "it had finished and can't be resumed")
	require.Equal(t, exitTerminated, ending{session: ended, slept: true}.code())
}

// story is a session whose stream sends parts, each after the one before was read, and whose state is that of the last part sent.
type story struct {
	events []string // data objects with type
	end    bool
	state  string // what GET session answers
}

func (s story) routes() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"GET /gantry/v1/organizations/org-1/sessions/abc/events": s.stream,
		"GET /v3/organizations/org-1/sessions/abc":               says(`{"session_id":"abc","url":"http://x/sessions/abc","acus_consumed":0.5,` + s.state + `}`),
	}
}

func (s story) stream(w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
		fmt.Fprintf(w, `{"items":[{"seq":1,"type":"status","created_at":1,"data":{}}],"end_cursor":null,"has_next_page":false}`)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	var last int
	_, _ = fmt.Sscan(r.Header.Get("Last-Event-ID"), &last)
	for i, e := range s.events {
		if i >= last {
			fmt.Fprintf(w, "id: %d\ndata: {\"seq\":%d,\"created_at\":%d,%s}\n\n", i+1, i+1, 1000*(i+1), e)
		}
	}
	if s.end {
		fmt.Fprint(w, "event: end\ndata: {}\n\n")
		return
	}
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

const (
	asked    = `"type":"user_message","data":{"text":"do it"}`
	working  = `"type":"status","data":{"status":"running","status_detail":"working"}`
	finished = `"type":"status","data":{"status":"running","status_detail":"finished"}`
	asleep   = `"type":"status","data":{"status":"suspended","status_detail":"inactivity"}`
	exited   = `"type":"status","data":{"status":"exit"}`
	hello    = `"type":"message","data":{"text":"hello"}`
)

func TestFollowEndsWithTheSessionAndItsExitCode(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		story
		want int
	}{
		"finished":                      {story{[]string{asked, working, hello, finished}, false, `"status":"running","status_detail":"finished"`}, exitOK},
		"what comes after the status":   {story{[]string{asked, working, finished, hello}, false, `"status":"running","status_detail":"finished"`}, exitOK},
		"asleep after it had finished":  {story{[]string{asked, finished, asleep, hello}, false, `"status":"suspended","status_detail":"inactivity"`}, exitOK},
		"asleep while it waited":        {story{[]string{asked, working, asleep, hello}, false, `"status":"suspended","status_detail":"inactivity"`}, exitWaiting},
		"the stream's end is the end":   {story{[]string{asked, working, hello, exited}, true, `"status":"exit"`}, exitTerminated},
		"an earlier rest is passed by":  {story{[]string{asked, finished, asked, working, hello, finished}, false, `"status":"running","status_detail":"finished"`}, exitOK},
		"an end without a status event": {story{[]string{hello}, true, `"status":"error"`}, exitError},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := serveAPI(t, c.routes())
			code, out, errs := command(t, "", f.at("session", "follow", "abc")...)
			require.Equal(t, c.want, code, errs)
			require.Contains(t, out, "● hello\n")
			require.Contains(t, out, "0.5000 ACU")
			require.Contains(t, out, "gantry session show abc")
			code, out, _ = command(t, "", f.at("session", "wait", "abc")...)
			require.Equal(t, c.want, code)
			require.NotContains(t, out, "hello")
			code, out, _ = command(t, "", f.at("session", "follow", "abc", "--json")...)
			require.Equal(t, c.want, code)
			require.Equal(t, len(c.events), strings.Count(out, "\n"), "one event a line")
		})
	}
}

func TestFollowNamesTheWayToWhatIsCutInItsOwnSession(t *testing.T) {
	t.Parallel()
	cut := `"type":"message","data":{"text":"begins","truncated":true,"size":70000}`
	f := serveAPI(t, story{[]string{asked, cut, finished}, false, `"status":"running","status_detail":"finished"`}.routes())
	_, out, _ := command(t, "", f.at("session", "follow", "abc")...)
	require.Contains(t, out, "● begins\n  … cut here: ")
	require.Contains(t, out, "gantry api GET /gantry/v1/organizations/org-1/sessions/abc/events/2/payload\n")
}

// full is a disk without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func TestWhatCouldNotBeShownIsAnError(t *testing.T) {
	t.Parallel()
	f := serveAPI(t, story{[]string{asked, working, hello, finished}, false, `"status":"running","status_detail":"finished"`}.routes())
	for _, form := range [][]string{{"follow", "abc"}, {"follow", "abc", "--json"}, {"wait", "abc"}} {
		var errs strings.Builder
		code := run(t.Context(), f.at(append([]string{"session"}, form...)...), &stdio{in: strings.NewReader(""), out: full{}, err: &errs})
		require.Equal(t, exitUsage, code, form)
		require.Contains(t, errs.String(), syscall.ENOSPC.Error())
	}
}

func TestFollowGoesOnWhileAMessageIsNotYetTakenUp(t *testing.T) {
	t.Parallel()
	// The state still says finished, but a message came after it: that is no end.
	f := serveAPI(t, story{[]string{asked, finished, asked}, false, `"status":"running","status_detail":"finished"`}.routes())
	code, _, errs := command(t, "", f.at("session", "wait", "abc", "--timeout", "1500ms")...)
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "neither finished nor waited within 1.5s")
}

func TestAWatchTellsThatNoWorkerTakesASession(t *testing.T) {
	t.Parallel()
	const (
		created  = `"type":"created","data":{}`
		claimed  = `"type":"claimed","data":{}`
		resuming = `"type":"status","data":{"status":"resuming"}`
	)
	for name, c := range map[string]struct {
		events []string
		told   bool
	}{
		"new":                      {[]string{created, asked}, true},
		"claimed":                  {[]string{created, asked, claimed, working}, false},
		"resumed and not yet back": {[]string{created, asked, claimed, working, finished, asked, resuming}, true},
		"a message while it works": {[]string{created, asked, claimed, working, asked}, false},
		"in the middle of a story": {[]string{working}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := serveAPI(t, story{c.events, false, `"status":"running","status_detail":"working"`}.routes())
			cl, err := client.New(client.Options{URL: f.URL})
			require.NoError(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			told := false
			w := &watch{c: cl, org: "org-1", session: "abc", handle: func(client.Event) {}, patience: 50 * time.Millisecond}
			w.unclaimed = func() { told = true; cancel() }
			_, err = w.run(ctx)
			require.Error(t, err)
			require.Equal(t, c.told, told)
		})
	}
}

func TestFollowAfterTheLastEventLooksAtTheState(t *testing.T) {
	t.Parallel()
	f := serveAPI(t, story{[]string{asked, finished}, false, `"status":"running","status_detail":"finished"`}.routes())
	code, out, _ := command(t, "", f.at("session", "follow", "abc", "--after", "2")...)
	require.Equal(t, exitOK, code)
	require.NotContains(t, out, "do it")
}

func TestMessageWithFollowShowsOnlyWhatComesAfterIt(t *testing.T) {
	t.Parallel()
	routes := story{[]string{finished, asked, working, hello, finished}, false, `"status":"running","status_detail":"finished"`}.routes()
	routes["POST /v3/organizations/org-1/sessions/abc/messages"] = says(`{"session_id":"abc"}`)
	f := serveAPI(t, routes)
	code, out, errs := command(t, "more\n", f.at("session", "message", "abc", "--follow")...)
	require.Equal(t, exitOK, code, errs)
	require.True(t, strings.HasPrefix(out, "> do it\n"), out)
	for _, r := range f.requests() {
		if strings.HasSuffix(r.route, "/messages") {
			require.JSONEq(t, `{"message":"more\n"}`, r.body)
		}
	}
}

func TestCreateSendsWhatTheFlagsSay(t *testing.T) {
	t.Parallel()
	f := serveAPI(t, map[string]http.HandlerFunc{
		"POST /v3/organizations/org-1/sessions":    says(`{"session_id":"abc","url":"http://x/sessions/abc"}`),
		"POST /v3/organizations/org-1/attachments": says(`{"attachment_id":"i","name":"n","url":"http://x/attachments/i/n"}`),
	})
	schema := filepath.Join(t.TempDir(), "schema.json")
	require.NoError(t, os.WriteFile(schema, []byte(`{"type":"object"}`), 0o600))
	code, out, errs := command(t, "", f.at("session", "create", "do it", "--title", "T", "-r", "owner/name", "--tag", "a", "--tag", "b",
		"--secret", "TOKEN=x=y,z", "--schema", schema, "--max-acu", "3", "--mode", "fast", "--platform", "gpu", "--attach", schema, "--playbook", "playbook-1")...)
	require.Equal(t, exitOK, code, errs)
	require.Contains(t, out, "session abc\nhttp://x/sessions/abc\n")
	last := f.requests()[len(f.requests())-1]
	require.JSONEq(t, `{"prompt":"do it","title":"T","repos":["owner/name"],"tags":["a","b"],"session_secrets":[{"key":"TOKEN","value":"x=y,z"}],
		"structured_output_schema":{"type":"object"},"max_acu_limit":3,"devin_mode":"fast","platform":"gpu","playbook_id":"playbook-1",
		"attachment_urls":["http://x/attachments/i/n"]}`, last.body)
	require.Equal(t, "Bearer cog_test", last.header.Get("Authorization"))
}

func TestCreateRefusesBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	f := serveAPI(t, nil)
	for want, args := range map[string][]string{
		"no text was given":         {},
		"no such variable":          {"p", "--secret", "GANTRY_TEST_NOT_SET"},
		"is not JSON":               {"p", "--schema", "main.go"},
		"git repository":            {"p", "--repo", "/"},
		"no such file or directory": {"p", "--repo", "./nowhere"},
	} {
		code, _, errs := command(t, "", f.at(append([]string{"session", "create"}, args...)...)...)
		require.Equal(t, exitUsage, code)
		require.Contains(t, errs, want)
	}
	require.Empty(t, f.requests())
}

// checkout makes a folder that looks like a repository and gives a path inside it.
func checkout(t *testing.T, name string) (root, inside string) {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	root = filepath.Join(root, name)
	inside = filepath.Join(root, "a", "b")
	require.NoError(t, os.MkdirAll(inside, 0o700))
	require.NoError(t, os.Mkdir(filepath.Join(root, ".git"), 0o700))
	return root, inside
}

func TestALocalRepositoryIsRegisteredAndNamed(t *testing.T) {
	t.Parallel()
	root, inside := checkout(t, "my repo")
	f := serveAPI(t, map[string]http.HandlerFunc{
		"POST /gantry/v1/repositories":          says(`{"name":"my-repo","url":"file://x"}`),
		"POST /v3/organizations/org-1/sessions": says(`{"session_id":"abc"}`),
	})
	code, _, errs := command(t, "", f.at("session", "create", "p", "--repo", inside)...)
	require.Equal(t, exitOK, code, errs)
	require.Contains(t, errs, "repository my-repo is "+root)
	require.JSONEq(t, `{"name":"my-repo","url":"file://`+strings.ReplaceAll(root, " ", "%20")+`"}`, f.requests()[0].body)
	require.JSONEq(t, `{"prompt":"p","repos":["my-repo"]}`, f.requests()[1].body)
}

func TestATakenNameIsMadeTheFoldersOwn(t *testing.T) {
	t.Parallel()
	_, inside := checkout(t, "repo")
	first := true
	f := serveAPI(t, map[string]http.HandlerFunc{
		"POST /gantry/v1/repositories": func(w http.ResponseWriter, r *http.Request) {
			if first {
				first = false
				refuses(http.StatusConflict, "taken")(w, r)
				return
			}
			says(`{"name":"repo-123456","url":"u"}`)(w, r)
		},
		"POST /v3/organizations/org-1/sessions": says(`{"session_id":"abc"}`),
	})
	code, _, errs := command(t, "", f.at("session", "create", "p", "-r", inside)...)
	require.Equal(t, exitOK, code, errs)
	require.Regexp(t, `"name":"repo-[0-9a-f]{6}"`, f.requests()[1].body)
}

func TestARepositoryThatMayNotBeRegisteredNamesTheNextStep(t *testing.T) {
	t.Parallel()
	root, inside := checkout(t, "repo")
	for _, status := range []int{400, 403, 422} {
		f := serveAPI(t, map[string]http.HandlerFunc{"POST /gantry/v1/repositories": refuses(status, "not below a listed root")})
		code, _, errs := command(t, "", f.at("session", "create", "p", "-r", inside)...)
		require.Equal(t, exitUsage, code)
		require.Contains(t, errs, "not below a listed root")
		if status == http.StatusForbidden {
			require.NotContains(t, errs, "--repo-root", "a root doesn't help whoever may not list repositories")
			require.Contains(t, errs, "name it with --repo ")
			continue
		}
		require.Contains(t, errs, "--repo-root "+filepath.Dir(root))
		require.Contains(t, errs, "gantry admin repo add repo file://"+root)
	}
}

func TestALocalRepositoryIsRefusedForAnotherMachinesServer(t *testing.T) {
	t.Parallel()
	_, inside := checkout(t, "repo")
	code, _, errs := command(t, "", "session", "create", "p", "-r", inside, "--url", "https://gantry.example", "--key", "cog_x", "--org", "o")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "is another machine and can't read")
	require.Contains(t, errs, "gantry admin repo add NAME URL")
	require.True(t, local("http://localhost:1") && local("http://127.0.0.9:1") && local("http://[::1]:1"))
	require.False(t, local("https://gantry.example"))
}
