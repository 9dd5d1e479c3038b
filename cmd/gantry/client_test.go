package main

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAPISendsFieldsAndPrintsTheAnswerAsItIs(t *testing.T) {
	t.Parallel()
	f := serveAPI(t, map[string]http.HandlerFunc{
		"POST /v3/organizations/org-1/sessions": says(`{"a":  1}`),
		"GET /v3/x":                             says("[]"),
		"PUT /v3/y z":                           says(""),
	})
	code, out, errs := command(t, "", f.at("api", "post", "/v3/organizations/{org_id}/sessions", "-f", "prompt=a=b, c", "-f", `tags=["x"]`, "-f", "n=3", "-f", "t=true", "-f", "s=3 apples")...)
	require.Equal(t, exitOK, code, errs)
	require.Equal(t, `{"a":  1}`, out)
	code, _, _ = command(t, "", f.at("api", "GET", "v3/x?one=1", "-f", "two=2&3", "-f", "two=4")...)
	require.Equal(t, exitOK, code)
	code, _, _ = command(t, `{"from":"stdin"}`, f.at("api", "PUT", "/v3/y%20z", "-d", "@-", "-H", "X-Test:  yes")...)
	require.Equal(t, exitOK, code)
	seen := f.requests()
	require.JSONEq(t, `{"prompt":"a=b, c","tags":["x"],"n":3,"t":true,"s":"3 apples"}`, seen[0].body)
	require.NotEmpty(t, seen[0].header.Get("Idempotency-Key"))
	require.Equal(t, "one=1&two=2%263&two=4", seen[1].query)
	require.JSONEq(t, `{"from":"stdin"}`, seen[2].body)
	require.Equal(t, "yes", seen[2].header.Get("X-Test"))
}

func TestAPIPrintsARefusalsBodyAndExits1(t *testing.T) {
	t.Parallel()
	f := serveAPI(t, map[string]http.HandlerFunc{"GET /v3/self": refuses(http.StatusForbidden, "no")})
	code, out, _ := command(t, "", f.at("api", "GET", "/v3/self", "-i")...)
	require.Equal(t, exitUsage, code)
	require.True(t, strings.HasPrefix(out, "403 Forbidden\n"), out)
	require.Contains(t, out, "\nContent-Type: application/problem+json\n")
	require.Contains(t, out, "\n\n{")
	require.Contains(t, out, `"detail":"no"`)
}

func TestAPIRefusesWhatIsNoRequest(t *testing.T) {
	t.Parallel()
	f := serveAPI(t, nil)
	for want, args := range map[string][]string{
		"is not a path":        {"GET", "https://other.example/v3/self"},
		"is not name=value":    {"POST", "/x", "-f", "novalue"},
		"two ways to say":      {"POST", "/x", "-f", "a=b", "-d", "{}"},
		"is not \"Name: value": {"GET", "/x", "-H", "novalue"},
		"no such file":         {"POST", "/x", "-d", "@/nowhere/at/all"},
	} {
		code, _, errs := command(t, "", f.at(append([]string{"api"}, args...)...)...)
		require.Equal(t, exitUsage, code)
		require.Contains(t, errs, want)
	}
	require.Empty(t, f.requests())
}

func TestListGoesFromPageToPageUntilThereAreEnough(t *testing.T) {
	t.Parallel()
	f := serveAPI(t, map[string]http.HandlerFunc{"GET /v3/organizations/org-1/sessions": func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("after") == "" {
			says(`{"items":[{"session_id":"s1","status":"running","status_detail":"waiting_for_user","title":"one\ntwo\u001b[2J","acus_consumed":1.5}],"end_cursor":"c","has_next_page":true}`)(w, r)
			return
		}
		says(`{"items":[{"session_id":"s2","status":"exit"}],"end_cursor":null,"has_next_page":false}`)(w, r)
	}})
	code, out, errs := command(t, "", f.at("session", "list", "--tag", "a", "--tag", "b")...)
	require.Equal(t, exitOK, code, errs)
	require.Regexp(t, `^SESSION  STATUS +ACU +AGE +TITLE\ns1 +running / waiting for user  1\.5000  \d+d  one two\ns2 +exit +0\.0000`, out)
	require.Equal(t, "first=20&tags=a&tags=b", f.requests()[0].query)
	require.Equal(t, "after=c&first=19&tags=a&tags=b", f.requests()[1].query)
	code, out, _ = command(t, "", f.at("session", "list", "--json", "--first", "1")...)
	require.Equal(t, exitOK, code)
	require.JSONEq(t, `[{"session_id":"s1","status":"running","status_detail":"waiting_for_user","title":"one\ntwo\u001b[2J","acus_consumed":1.5}]`, out, "as the API gave it")
}

func TestShowAndStop(t *testing.T) {
	t.Parallel()
	f := serveAPI(t, map[string]http.HandlerFunc{
		"GET /v3/organizations/org-1/sessions/devin-abc":       says(`{"session_id":"abc","status":"running","status_detail":"finished","structured_output":{"a":[1]},"pull_requests":[{"pr_url":"https://x/1","pr_state":null}]}`),
		"GET /v3/organizations/org-1/sessions/abc/attachments": says(`[{"name":"r.txt","source":"devin","url":"http://x/r.txt"}]`),
		"DELETE /v3/organizations/org-1/sessions/abc":          says(`{"session_id":"abc","status":"exit"}`),
	})
	code, out, errs := command(t, "", f.at("session", "show", "devin-abc")...)
	require.Equal(t, exitOK, code, errs)
	for _, want := range []string{"running / finished", "https://x/1", "r.txt (devin) http://x/r.txt", "output\n  {\n    \"a\": ["} {
		require.Contains(t, out, want)
	}
	code, _, _ = command(t, "", f.at("session", "stop", "abc", "--archive")...)
	require.Equal(t, exitOK, code)
	require.Equal(t, "archive=true", f.requests()[2].query)
}

func TestErrorsNameTheNextStep(t *testing.T) {
	t.Parallel()
	f := serveAPI(t, map[string]http.HandlerFunc{"GET /v3/organizations/org-1/sessions": refuses(http.StatusUnauthorized, "unknown key")})
	code, _, errs := command(t, "", f.at("session", "list")...)
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "unknown key (401)")
	require.Contains(t, errs, "gantry login")
	code, _, errs = command(t, "", "session", "list", "--url", "http://127.0.0.1:1", "--key", "k", "--org", "o")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "; trying again\n", "nobody waits without knowing for what")
	require.Contains(t, errs, "is the server running?")
	code, _, errs = command(t, "", "session", "list", "--url", "http://127.0.0.1:1")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "no key for http://127.0.0.1:1")

	f = serveAPI(t, map[string]http.HandlerFunc{
		"GET /v3/organizations/org-1/sessions":  refuses(http.StatusNotFound, "unknown organization"),
		"POST /v3/organizations/org-1/sessions": refuses(http.StatusUnprocessableEntity, `repos.0: no repository named "x/y" is listed`),
		"GET /v3/organizations/org-1/sessions/s": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte("<!DOCTYPE html>\n<title>Something else</title>"))
		},
	})
	_, _, errs = command(t, "", f.at("session", "list")...)
	require.Contains(t, errs, "gantry api GET /v3/enterprise/organizations")
	_, _, errs = command(t, "", f.at("session", "create", "--repo", "x/y", "hello")...)
	require.Contains(t, errs, "gantry admin repo list")
	_, _, errs = command(t, "", f.at("session", "show", "s")...)
	require.Contains(t, errs, "Gantry doesn't answer like this")
}

func TestAListThatAFilterEmptiedDoesNotSayThatThereAreNoSessions(t *testing.T) {
	t.Parallel()
	f := serveAPI(t, map[string]http.HandlerFunc{"GET /v3/organizations/org-1/sessions": says(`{"items":[],"has_next_page":false}`)})
	code, out, errs := command(t, "", f.at("session", "list")...)
	require.Equal(t, exitOK, code)
	require.Empty(t, out)
	require.Contains(t, errs, "no sessions yet")
	_, _, errs = command(t, "", f.at("session", "list", "--tag", "x")...)
	require.NotContains(t, errs, "yet")
	require.Contains(t, errs, "no session is like that")
}

func TestABudgetOfNothingIsRefusedNotTakenForNoBudget(t *testing.T) {
	t.Parallel()
	f := serveAPI(t, nil)
	for _, n := range []string{"0", "-1"} {
		code, _, errs := command(t, "", f.at("session", "create", "--max-acu="+n, "hello")...)
		require.Equal(t, exitUsage, code)
		require.Contains(t, errs, "--max-acu must be 1 or more")
	}
	require.Empty(t, f.requests())
}

func TestShowOfASessionThatWaitsSaysWhereTheReasonIs(t *testing.T) {
	t.Parallel()
	for status, why := range map[string]bool{
		`"running","status_detail":"waiting_for_user"`: true, `"error"`: true, `"suspended","status_detail":"usage_limit_exceeded"`: true,
		`"running","status_detail":"finished"`: false, `"running","status_detail":"working"`: false, `"exit"`: false,
		`"suspended","status_detail":"inactivity"`: false, // that is the reason
	} {
		f := serveAPI(t, map[string]http.HandlerFunc{
			"GET /v3/organizations/org-1/sessions/abc":             says(`{"session_id":"abc","status":` + status + `}`),
			"GET /v3/organizations/org-1/sessions/abc/attachments": says(`[]`),
		})
		code, out, errs := command(t, "", f.at("session", "show", "abc")...)
		require.Equal(t, exitOK, code, errs)
		require.Equal(t, why, strings.Contains(out, "why: gantry session follow abc"), status)
	}
}

func TestLoginKeepsAKeyThatOnlyThisUserMayReadAndOnlyItsServerGets(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	routes := map[string]http.HandlerFunc{
		"GET /v3/self":                         says(`{"principal_type":"service_user","service_user_id":"su","service_user_name":"ada","org_id":"org-9"}`),
		"GET /v3/organizations/org-9/sessions": says(`{"items":[],"has_next_page":false}`),
		"GET /v3/organizations/org-8/sessions": says(`{"items":[],"has_next_page":false}`),
	}
	f, other := serveAPI(t, routes), serveAPI(t, routes)
	code, out, errs := command(t, "cog_secret\n", "login", "--url", f.URL+"/")
	require.Equal(t, exitOK, code, errs)
	require.Contains(t, out, "as ada")
	require.NotContains(t, out+errs, "cog_secret")
	path, err := profilePath()
	require.NoError(t, err)
	st, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), st.Mode().Perm())

	code, _, errs = command(t, "", "session", "list")
	require.Equal(t, exitOK, code, errs)
	last := f.requests()[len(f.requests())-1]
	require.Equal(t, "GET /v3/organizations/org-9/sessions", last.route)
	require.Equal(t, "Bearer cog_secret", last.header.Get("Authorization"))

	code, _, errs = command(t, "", "session", "list", "--url", other.URL)
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "no key for "+other.URL)
	require.Empty(t, other.requests(), "the key goes to no other server")

	t.Setenv("DEVIN_API_KEY", "cog_devin")
	t.Setenv("DEVIN_ORG_ID", "org-8")
	code, _, _ = command(t, "", "session", "list")
	require.Equal(t, exitOK, code)
	last = f.requests()[len(f.requests())-1]
	require.Equal(t, "GET /v3/organizations/org-8/sessions", last.route, "DEVIN_ variables come before the profile")
	require.Equal(t, "Bearer cog_devin", last.header.Get("Authorization"))

	t.Setenv("GANTRY_KEY", "cog_gantry")
	code, _, _ = command(t, "", "session", "list")
	require.Equal(t, exitOK, code)
	require.Equal(t, "Bearer cog_gantry", f.requests()[len(f.requests())-1].header.Get("Authorization"), "GANTRY_ variables come before DEVIN_ ones")
}

func TestLoginKeepsNothingThatDoesNotWork(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	f := serveAPI(t, map[string]http.HandlerFunc{"GET /v3/self": refuses(http.StatusUnauthorized, "unknown key")})
	code, _, _ := command(t, "cog_x\n", "login", "--url", f.URL)
	require.Equal(t, exitUsage, code)
	code, _, errs := command(t, "", "login", "--url", f.URL)
	require.Equal(t, exitUsage, code)
	require.Equal(t, "gantry: no key was given: use --key, GANTRY_KEY or standard input\n", errs)
	code, _, errs = command(t, "", "login", "--url", "nowhere")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "is not an http or https address", "before a key is asked for")
	f = serveAPI(t, map[string]http.HandlerFunc{
		"GET /v3/self":                         says(`{"principal_type":"service_user","service_user_id":"su","org_id":null}`),
		"GET /v3/organizations/org-7/sessions": refuses(http.StatusNotFound, "unknown organization"),
	})
	code, _, errs = command(t, "cog_x\n", "login", "--url", f.URL, "--org", "org-7")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "unknown organization")
	f = serveAPI(t, map[string]http.HandlerFunc{"GET /v3/self": says(`{"principal_type":"service_user","service_user_id":"su","org_id":"org-1"}`)})
	code, _, errs = command(t, "cog_x\n", "login", "--url", f.URL, "--org", "org-7")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "the key belongs to org-1, not to org-7")
	path, err := profilePath()
	require.NoError(t, err)
	require.NoFileExists(t, path)
}

func TestTheOnlyOrganizationNeedsNoName(t *testing.T) {
	t.Parallel()
	self := says(`{"principal_type":"service_user","service_user_id":"su","org_id":null}`)
	f := serveAPI(t, map[string]http.HandlerFunc{
		"GET /v3/self":                         self,
		"GET /v3/enterprise/organizations":     says(`{"items":[{"org_id":"org-5","name":"Default"}]}`),
		"GET /v3/organizations/org-5/sessions": says(`{"items":[]}`),
	})
	code, _, errs := command(t, "", "session", "list", "--url", f.URL, "--key", "k")
	require.Equal(t, exitOK, code, errs)
	f = serveAPI(t, map[string]http.HandlerFunc{
		"GET /v3/self": self, "GET /v3/enterprise/organizations": says(`{"items":[{"org_id":"a"},{"org_id":"b","name":"Team"}]}`),
	})
	code, _, errs = command(t, "", "session", "list", "--url", f.URL, "--key", "k")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "--org")
	require.Contains(t, errs, "\n  b  Team")
}

func TestDrainFindsTheWorkerByNameOrTheOnlyOne(t *testing.T) {
	t.Parallel()
	f := serveAPI(t, map[string]http.HandlerFunc{
		"GET /v3/enterprise/hypervisors":                 says(`{"items":[{"hypervisor_id":"hypervisor-1","cloud_provider_instance_id":"box-a"},{"hypervisor_id":"hypervisor-2","cloud_provider_instance_id":"box-b"}]}`),
		"POST /gantry/v1/hypervisors/hypervisor-2/drain": says(`{}`),
	})
	code, out, errs := command(t, "", f.at("worker", "drain", "box-b")...)
	require.Equal(t, exitOK, code, errs)
	require.Contains(t, out, "hypervisor-2 drains")
	code, _, errs = command(t, "", f.at("worker", "drain")...)
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "2 workers fit")
	require.Contains(t, errs, "hypervisor-1 box-a")
	_, _, errs = command(t, "", f.at("worker", "drain", "box-c")...)
	require.Contains(t, errs, `no worker has the id or name "box-c"`)
}
