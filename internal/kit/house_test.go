package kit_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"go.uber.org/goleak"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/kit/kittest"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is a small API with one operation of each sort, and keys of each sort of principal.
type house struct {
	kit  *kit.Kit
	api  *kit.API
	keys *kittest.Keys
	// made counts how often the creating operation ran.
	made  int
	count int // of the last body that had one
	fail  error
}

type thingInput struct {
	OrgID   string `path:"org_id"`
	DevinID string `query:"devin_id"`
	Body    struct {
		Title string                 `json:"title" maxLength:"10"`
		Tags  []string               `json:"tags,omitempty" maxItems:"3"`
		Macro kit.Optional[string]   `json:"macro,omitempty" enum:"!a,!b"`
		Cap   kit.Optional[int64]    `json:"cap,omitempty"`
		Count int                    `json:"count,omitempty" minimum:"-5" maximum:"1000000000000"`
		Env   []struct{ Key string } `json:"env,omitempty"`
	}
}

type thing struct {
	ID    string  `json:"id"`
	OrgID string  `json:"org_id"`
	Macro *string `json:"macro"`
	Cap   string  `json:"cap"`
}

type thingOutput struct{ Body thing }

type listInput struct {
	OrgID string `path:"org_id"`
	kit.PageInput
	Tags     []string          `query:"tags,explode"`
	Search   string            `query:"search"`
	After    kit.Optional[int] `query:"time_after"`
	Archived bool              `query:"archived"`
}

type echo struct {
	First    int      `json:"first"`
	Tags     []string `json:"tags"`
	Search   string   `json:"search"`
	After    *int     `json:"time_after"`
	Archived bool     `json:"archived"`
}

type listOutput struct {
	Body struct {
		kit.Page[string]
		Echo echo `json:"echo"`
	}
}

const orgA, orgB = "org-aaaa", "org-bbbb"

func newHouse(t testing.TB, change ...func(*kit.Options)) *house {
	t.Helper()
	h := &house{keys: &kittest.Keys{}}
	o := kit.Options{
		Authenticator: h.keys,
		OrgExists:     func(_ context.Context, id string) (bool, error) { return id == orgA || id == orgB, nil },
		Sealer:        page.NewSealer([]byte("0123456789abcdef0123456789abcdef")),
	}
	for _, f := range change {
		f(&o)
	}
	h.kit = kit.New(o)
	t.Cleanup(h.kit.Close)
	h.api = kit.NewAPI(h.kit, kit.Version{Title: "Test", Version: "3", Prefixes: []string{"/v3/", "/v3beta1/"}})
	h.register()

	admin := access.Builtin()[0].Permissions
	h.keys.Put("enterprise", access.Subject{Kind: access.ServiceUser, ID: "su-e"}.WithGrants(access.Grant{Permissions: admin}))
	h.keys.Put("weak", access.Subject{Kind: access.ServiceUser, ID: "su-w"}.WithGrants())
	h.keys.Put("a", access.Subject{Kind: access.ServiceUser, ID: "su-a", OrgID: orgA}.WithGrants(access.Grant{OrgID: orgA, Permissions: admin}))
	h.keys.Put("b", access.Subject{Kind: access.ServiceUser, ID: "su-b", OrgID: orgB}.WithGrants(access.Grant{OrgID: orgB, Permissions: admin}))
	h.keys.Put("worker", access.Subject{Kind: access.Worker, ID: "wk-1"})
	return h
}

func (h *house) register() {
	op := func(id, method, path string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path}
	}
	sessions := []access.Permission{access.UseDevinSessions, access.ManageOrgSessions}
	kit.Register(h.api, kit.Op{Operation: op("create", http.MethodPost, "/v3/organizations/{org_id}/sessions"), Any: sessions, Creates: true}, h.create)
	kit.Register(h.api, kit.Op{Operation: op("mint", http.MethodPost, "/v3/organizations/{org_id}/secrets"), Any: sessions, Creates: true, ShowsSecret: true}, h.create)
	kit.Register(h.api, kit.Op{Operation: op("list", http.MethodGet, "/v3/organizations/{org_id}/sessions"), Any: sessions}, h.list)
	kit.Register(h.api, kit.Op{Operation: op("list2", http.MethodGet, "/v3/organizations/{org_id}/knowledge"), Any: sessions, KeepCursor: true}, h.list)
	kit.Register(h.api, kit.Op{Operation: op("roles", http.MethodGet, "/v3/enterprise/roles"), Any: []access.Permission{access.ViewAccountMembership}, Enterprise: true},
		func(context.Context, access.Subject, *struct{}) (*thingOutput, error) {
			return &thingOutput{}, h.fail
		})
	kit.Register(h.api, kit.Op{
		Operation: op("audit", http.MethodGet, "/v3/enterprise/organizations/{org_id}/audit-logs"), Any: []access.Permission{access.ManageEnterpriseSettings},
		Enterprise: true, ForbidUnknownOrg: true,
	}, h.list)
	kit.Register(h.api, kit.Op{Operation: op("self", http.MethodGet, "/v3/self"), AnyPrincipal: true},
		func(_ context.Context, s access.Subject, _ *struct{}) (*thingOutput, error) {
			return &thingOutput{Body: thing{ID: s.ID, OrgID: s.RequestID}}, h.fail
		})
	kit.Register(h.api, kit.Op{Operation: op("beta", http.MethodGet, "/v3beta1/enterprise/self"), AnyPrincipal: true},
		func(context.Context, access.Subject, *struct{}) (*thingOutput, error) {
			return &thingOutput{Body: thing{ID: "beta"}}, nil
		})
	kit.Register(h.api, kit.Op{Operation: op("ping", http.MethodGet, "/v3/ping"), Public: true},
		func(context.Context, access.Subject, *struct{}) (*thingOutput, error) { return &thingOutput{}, nil })
	kit.Register(h.api, kit.Op{Operation: op("claim", http.MethodPost, "/v3/claim"), Any: []access.Permission{access.UseOutpostsMachine}, Worker: true},
		func(_ context.Context, s access.Subject, _ *struct{}) (*thingOutput, error) {
			return &thingOutput{Body: thing{ID: s.ID}}, nil
		})
	kit.Register(h.api, kit.Op{Operation: op("panic", http.MethodGet, "/v3/panic"), Public: true},
		func(context.Context, access.Subject, *struct{}) (*thingOutput, error) {
			panic(errors.New("secret cause"))
		})
}

func (h *house) create(ctx context.Context, s access.Subject, in *thingInput) (*thingOutput, error) {
	h.made++
	if in.Body.Count != 0 {
		h.count = in.Body.Count
	}
	if h.fail != nil {
		return nil, h.fail
	}
	if err := access.RequireAny(s, in.OrgID, access.UseDevinSessions, access.ManageOrgSessions); err != nil {
		return nil, err
	}
	if in.Body.Title == "taken" {
		return nil, fault.New(fault.Conflict, "there is one already")
	}
	out := &thingOutput{Body: thing{ID: s.ID + "/" + string(rune('0'+h.made)), OrgID: kit.Org(ctx), Macro: in.Body.Macro.Ptr(), Cap: "absent"}}
	switch c := in.Body.Cap; {
	case c.Null:
		out.Body.Cap = "null"
	case c.Set:
		out.Body.Cap = "value"
	}
	return out, nil
}

func (h *house) list(ctx context.Context, _ access.Subject, in *listInput) (*listOutput, error) {
	req, err := kit.OpenPage(ctx, in.PageInput)
	if err != nil {
		return nil, err
	}
	rows := []string{"a", "b", "c", "d", "e"}
	if len(req.After) == 1 {
		for len(rows) > 0 && rows[0] <= req.After[0].(string) {
			rows = rows[1:]
		}
	}
	p := page.Cut(rows[:min(len(rows), req.Limit())], req, func(s string) page.Position { return page.Position{s} })
	out := &listOutput{}
	out.Body.Page = kit.ClosePage(ctx, p, func(s string) string { return s })
	out.Body.Echo = echo{First: in.First, Tags: in.Tags, Search: in.Search, After: in.After.Ptr(), Archived: in.Archived}
	return out, nil
}

func (h *house) do(t testing.TB, method, target, key, body string, header ...string) kittest.Answer {
	t.Helper()
	return kittest.Do(t, h.kit.Router(), method, target, key, body, header...)
}

func (h *house) get(t testing.TB, target, key string, header ...string) kittest.Answer {
	t.Helper()
	return h.do(t, http.MethodGet, target, key, "", header...)
}
