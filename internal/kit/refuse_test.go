package kit_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/kit/kittest"
	"gantry/internal/platform/fault"
)

const sessionsA, sessionsB = "/v3/organizations/" + orgA + "/sessions", "/v3/organizations/" + orgB + "/sessions"

func TestRefusalsComeInTheContractsOrder(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, c := range []struct {
		name, method, path, key, body string
		status                        int
	}{
		{"no key before a foreign organization", "POST", sessionsB, "", `{`, 401},
		{"unknown key before a bad body", "POST", sessionsA, "nobody", `{`, 401},
		{"foreign organization before a bad body", "POST", sessionsB, "a", `{`, 403},
		{"unknown organization looks like a foreign one", "POST", "/v3/organizations/org-zzzz/sessions", "a", `{}`, 403},
		{"missing permission before a bad body", "POST", sessionsA, "weak", `{`, 403},
		{"bad body before an unknown organization", "POST", "/v3/organizations/org-zzzz/sessions", "enterprise", `{}`, 422},
		{"enterprise key on an unknown organization", "POST", "/v3/organizations/org-zzzz/sessions", "enterprise", `{"title":"x"}`, 404},
		{"but 403 on its audit logs", "GET", "/v3/enterprise/organizations/org-zzzz/audit-logs", "enterprise", "", 403},
		{"organization key on an enterprise route", "GET", "/v3/enterprise/roles", "a", "", 403},
		{"organization key on its own organization's enterprise route", "GET", "/v3/enterprise/organizations/" + orgA + "/audit-logs", "a", "", 403},
		{"enterprise key without the permission", "GET", "/v3/enterprise/roles", "weak", "", 403},
		{"worker key on a principal's operation", "GET", "/v3/self", "worker", "", 403},
		{"conflict last", "POST", sessionsA, "a", `{"title":"taken"}`, 409},
		{"unknown path", "GET", "/v3/nowhere", "a", "", 404},
		{"path that needs escapes, as a URI reference does", "GET", "/v3/no%20where%7C", "a", "", 404},
		{"other method", "DELETE", "/v3/self", "a", "", 405},
		{"worker's operation", "POST", "/v3/claim", "worker", "", 200},
		{"or by permission", "POST", "/v3/claim", "enterprise", "", 200},
		{"public", "GET", "/v3/ping", "", "", 200},
		{"any principal", "GET", "/v3/self", "weak", "", 200},
		{"well", "POST", sessionsA, "a", `{"title":"x","unknown":1}`, 200},
	} {
		a := h.do(t, c.method, c.path, c.key, c.body)
		require.Equal(t, c.status, a.Status, "%s: %s", c.name, a.Body)
		if a.Status >= 400 {
			require.Equal(t, "application/problem+json", a.Header.Get("Content-Type"), c.name)
			require.EqualValues(t, c.status, a.JSON(t)["status"], c.name)
			require.Equal(t, c.path, a.JSON(t)["instance"], c.name)
		}
		if a.Status == 401 {
			require.Equal(t, "Bearer", a.Header.Get("WWW-Authenticate"), c.name)
		}
		if a.Status == 405 {
			require.Equal(t, "GET", a.Header.Get("Allow"))
		}
	}
}

func TestWithoutTheEarlyCheckTheUseCaseRefusesAlike(t *testing.T) {
	t.Parallel()
	early, late := newHouse(t), newHouse(t, func(o *kit.Options) { o.EarlyCheckOff = true })
	for _, h := range []*house{early, late} {
		require.Equal(t, 403, h.do(t, "POST", sessionsB, "a", `{"title":"x"}`).Status)
		require.Equal(t, 403, h.do(t, "POST", sessionsA, "weak", `{"title":"x"}`).Status)
		require.Equal(t, 401, h.do(t, "POST", sessionsA, "", `{"title":"x"}`).Status)
	}
	require.Zero(t, early.made)
	require.Equal(t, 2, late.made, "the use case was reached and refused itself")
}

// encoding/json would take Title for title, and refuse 2e0 for the integer that it is.
func TestABodyIsReadAsItsSchemaSays(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a := h.do(t, "POST", sessionsA, "a", `{"Title":"x"}`)
	require.Equal(t, 422, a.Status, "an unknown member is ignored, so title is missing")
	for body, want := range map[string]string{
		`{"title":"x","MACRO":"!a"}`:                                      `null`,
		`{"title":"x","macro":"!a","Macro":5,"MACRO":"!b"}`:               `"!a"`,
		`{"title":"x","macro":"!a","env":[{"Key":"K","key":3,"KEY":""}]}`: `"!a"`,
		`{"title":"x","macro":"!a","count":2.0,"cap":20e-1}`:              `"!a"`,
	} {
		a := h.do(t, "POST", sessionsA, "a", body)
		require.Equal(t, 200, a.Status, "%s: %s", body, a.Body)
		got, err := json.Marshal(a.JSON(t)["macro"])
		require.NoError(t, err)
		require.Equal(t, want, string(got), body)
	}
	require.Equal(t, 2, h.count)
}

func TestAWrongBodyNamesTheField(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for body, want := range map[string][]any{
		``:                        {"body"},
		`{`:                       {"body"},
		`[]`:                      {"body"},
		`null`:                    {"body"},
		`{}`:                      {"body", "title"},
		`{"title":null}`:          {"body", "title"},
		`{"title":5}`:             {"body", "title"},
		`{"title":"01234567890"}`: {"body", "title"},
		`{"title":"a\u0000b"}`:    {"body", "title"},
		"{\"title\":\"a\xff\"}":   {"body", "title"},
		"{\"title\":\"x\",\"any\":{\"d\":\"\xff\"}}": {"body", "any", "d"},
		"{\"title\":\"x\",\"any\":{\"\xff\":1}}":     {"body", "any"},
		`{"title":"x","tags":"a"}`:                   {"body", "tags"},
		`{"title":"x","tags":["a",1]}`:               {"body", "tags", 1.0},
		`{"title":"x","tags":["1","2","3",""]}`:      {"body", "tags"},
		`{"title":"x","macro":"!c"}`:                 {"body", "macro"},
		`{"title":"x","macro":[]}`:                   {"body", "macro"},
		`{"title":"x","cap":1.5}`:                    {"body", "cap"},
		`{"title":"x","cap":1e30}`:                   {"body", "cap"},
		`{"title":"x","count":1e30}`:                 {"body", "count"},
		`{"title":"x","env":[{"Key":1}]}`:            {"body", "env", 0.0, "Key"},
		`{"title":"x","env":[{}]}`:                   {"body", "env", 0.0, "Key"},
	} {
		a := h.do(t, "POST", sessionsA, "a", body)
		require.Equal(t, 422, a.Status, "%s: %s", body, a.Body)
		m := a.JSON(t)
		require.IsType(t, "", m["detail"])
		first := m["errors"].([]any)[0].(map[string]any)
		require.Empty(t, cmp.Diff(want, first["loc"]), "%s: %s", body, a.Body)
		require.NotEmpty(t, first["msg"])
		require.NotEmpty(t, first["type"])
		require.NotContains(t, a.Body, "Go ", "no name of ours leaves")
		require.NotContains(t, a.Body, "struct")
	}
	require.Zero(t, h.made)
	a := h.do(t, "POST", sessionsA, "a", `{"title":"x","count":2000000000000}`)
	require.Contains(t, a.JSON(t)["detail"], "<= 1000000000000", "a bound is written as people do")
	a = h.do(t, "POST", sessionsA, "a", `{"title":"x"}`, "Content-Type", "text/yaml")
	require.Equal(t, 422, a.Status)
	require.Contains(t, a.Body, "content-type")
	a = h.do(t, "POST", sessionsA, "a", `{"title":"x"}`, "Content-Encoding", "gzip")
	require.Equal(t, 415, a.Status)
	a = h.do(t, "POST", sessionsA, "a", `{"title":"`+strings.Repeat("x", 2<<20)+`"}`)
	require.Equal(t, 413, a.Status)
}

func TestAbsentNullAndValueAreToldApart(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for body, want := range map[string]string{
		`{"title":"x"}`: "absent", `{"title":"x","cap":null,"macro":null,"tags":null}`: "null", `{"title":"x","cap":3,"macro":"!a"}`: "value",
	} {
		a := h.do(t, "POST", sessionsA, "a", body)
		require.Equal(t, 200, a.Status, a.Body)
		require.Equal(t, want, a.JSON(t)["cap"])
	}
}

func TestFaultsGetTheirStatusAndCausesStay(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	cause := errors.New("password=hunter2")
	for _, c := range []struct {
		err    error
		status int
	}{
		{cause, 500},
		{fault.Wrap(cause, fault.Internal, "also hidden hunter2"), 500},
		{fault.Wrap(cause, fault.NotFound, "no such thing"), 404},
		{fault.Wrap(cause, fault.BadRequest, "no"), 400},
		{fault.Away(cause, "the database"), 503},
		{&fault.Error{Kind: fault.RateLimited, Message: "slow", RetryAfter: 1500 * time.Millisecond}, 429},
		{fault.InvalidField("session_secrets.0.key", "too long"), 422},
	} {
		h.fail = c.err
		a := h.get(t, "/v3/self", "a", "X-Request-Id", "my-id")
		require.Equal(t, c.status, a.Status, a.Body)
		require.NotContains(t, a.Body, "hunter2")
		switch c.status {
		case 500:
			require.Contains(t, a.Body, "my-id")
		case 503, 429:
			require.Equal(t, "2", a.Header.Get("Retry-After"))
		case 422:
			require.Contains(t, a.Body, `["body","session_secrets",0,"key"]`)
		default:
			require.Nil(t, a.JSON(t)["errors"], "errors are for 422 only")
		}
	}
	a := h.get(t, "/v3/panic", "")
	require.Equal(t, 500, a.Status)
	require.NotContains(t, a.Body, "secret cause")
}

func TestEachVersionWritesErrorsItsWay(t *testing.T) {
	t.Parallel()
	k := kit.New(kit.Options{Authenticator: &kittest.Keys{}})
	type input struct {
		Body struct {
			Prompt string `json:"prompt"`
		}
	}
	for path, form := range map[string]kit.Form{"/v1/": kit.FastAPI, "/opbeta/": kit.Detail} {
		a := kit.NewAPI(k, kit.Version{Prefixes: []string{path}, Form: form})
		kit.Register(a, kit.Op{Operation: huma.Operation{OperationID: "x", Method: "POST", Path: path + "x"}, Public: true},
			func(context.Context, access.Subject, *input) (*struct{}, error) {
				return nil, fault.New(fault.NotFound, "none")
			})
		kit.Register(a, kit.Op{Operation: huma.Operation{OperationID: "y", Method: "GET", Path: path + "y"}, AnyPrincipal: true},
			func(context.Context, access.Subject, *struct{}) (*struct{}, error) { return nil, nil })
		kittest.Guard(t, a)
	}
	one := func(method, path, body string) (int, string) {
		a := kittest.Do(t, k.Router(), method, path, "", body)
		require.Equal(t, "application/json", a.Header.Get("Content-Type"))
		return a.Status, strings.TrimSpace(a.Body)
	}
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", "/v1/x", `{"prompt":"p"}`, 404, `{"detail":"none"}`},
		{"POST", "/v1/x", `{}`, 422, `{"detail":[{"loc":["body","prompt"],"msg":"Field required","type":"missing"}]}`},
		{"GET", "/v1/y", ``, 401, `{"detail":"the request has no bearer credential"}`},
		{"GET", "/v1/none", ``, 404, `{"detail":"there is nothing at this path"}`},
		{"POST", "/opbeta/x", `{"prompt":"p"}`, 404, `{"detail":"none"}`},
		{"POST", "/opbeta/x", `{}`, 422, `{"detail":"prompt: Field required"}`},
		{"GET", "/opbeta/y", ``, 401, `{"detail":"the request has no bearer credential"}`},
	} {
		status, got := one(c.method, c.path, c.body)
		require.Equal(t, c.status, status, c.path)
		require.Equal(t, c.want, got, c.path)
	}
	status, got := one("GET", "/v1/y", "")
	require.Equal(t, 401, status)
	require.True(t, json.Valid([]byte(got)))
}

func TestUndeclaredOperationsAreRefusedAtStart(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	kittest.Guard(t, h.api)
	op := huma.Operation{OperationID: "z", Method: "GET", Path: "/v3/z"}
	nothing := func(context.Context, access.Subject, *struct{}) (*struct{}, error) { return nil, nil }
	require.Panics(t, func() { kit.Register(h.api, kit.Op{Operation: op}, nothing) })
	require.Panics(t, func() { kit.Register(h.api, kit.Op{Operation: op, Public: true, AnyPrincipal: true}, nothing) })
	require.NoError(t, h.api.Guard())

	h.api.OpenAPI().AddOperation(&op)
	require.ErrorContains(t, h.api.Guard(), "GET /v3/z declares nobody")
	h.kit.Router().Get("/v3/raw", func(http.ResponseWriter, *http.Request) {})
	require.ErrorContains(t, h.api.Guard(), "GET /v3/raw is routed but not in the document")
}

func TestTheOrganizationOfTheQueryIsTheOneTheHandlerSees(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	type input struct {
		OrgID string `query:"org_id"`
	}
	kit.Register(h.api, kit.Op{
		Operation: huma.Operation{OperationID: "byquery", Method: "GET", Path: "/v3/things"},
		Any:       []access.Permission{access.ViewOrgSessions, access.ViewAccountSessions}, Org: kit.OrgQuery,
	}, func(ctx context.Context, _ access.Subject, in *input) (*thingOutput, error) {
		require.Equal(t, in.OrgID, kit.Org(ctx))
		return &thingOutput{}, nil
	})
	for query, status := range map[string]int{
		"?org_id=" + orgA: 200, "?qs[org_id]=" + orgA: 200, "": 403, "?org_id=" + orgB: 403, "?qs.org_id=" + orgB: 403,
		"?org_id=" + orgA + "&org_id=" + orgB: 200, "?qs[org_id]=" + orgB + "&org_id=" + orgA: 200,
	} {
		require.Equal(t, status, h.get(t, "/v3/things"+query, "a").Status, query)
	}
	require.Equal(t, 200, h.get(t, "/v3/things", "enterprise").Status)
	require.Equal(t, 200, h.get(t, "/v3/organizations/org%2Daaaa/sessions", "a").Status, "an escaped id is the same id")
}

func TestAnyPrincipalStillKeepsToItsScope(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	nothing := func(context.Context, access.Subject, *struct{}) (*thingOutput, error) { return &thingOutput{}, nil }
	kit.Register(h.api, kit.Op{Operation: huma.Operation{OperationID: "o", Method: "GET", Path: "/v3/organizations/{org_id}/o"}, AnyPrincipal: true}, nothing)
	kit.Register(h.api, kit.Op{Operation: huma.Operation{OperationID: "e", Method: "GET", Path: "/v3/enterprise/e"}, AnyPrincipal: true, Enterprise: true}, nothing)
	require.Equal(t, 200, h.get(t, "/v3/organizations/"+orgA+"/o", "a").Status)
	require.Equal(t, 403, h.get(t, "/v3/organizations/"+orgB+"/o", "a").Status)
	require.Equal(t, 200, h.get(t, "/v3/enterprise/e", "weak").Status)
	require.Equal(t, 403, h.get(t, "/v3/enterprise/e", "a").Status)
}
