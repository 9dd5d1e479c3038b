package kit_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/kit/kittest"
)

// older is a house with an older version beside it.
func older(t *testing.T, change ...func(*kit.Options)) *house {
	t.Helper()
	h := newHouse(t, change...)
	a := kit.NewAPI(h.kit, kit.Version{
		Title: "Older", Version: "1", Prefixes: []string{"/v1/"}, Form: kit.FastAPI, Deprecated: time.Unix(1_767_225_600, 0),
		Rewrite: func(_, path string) string {
			if rest, ok := strings.CutPrefix(path, "/v1/session/"); ok {
				return "/v1/sessions/" + rest
			}
			return path
		},
	})
	type input struct {
		SessionID string `path:"session_id"`
		OrgID     string `query:"org_id"`
	}
	own := func(ctx context.Context, _ access.Subject, in *input) (*thingOutput, error) {
		return &thingOutput{Body: thing{ID: in.SessionID, OrgID: kit.Org(ctx), Cap: kit.Path(ctx)}}, nil
	}
	op := func(id, path string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: path}
	}
	kit.Register(a, kit.Op{
		Operation: op("own", "/v1/sessions/{session_id}"), Any: []access.Permission{access.ViewOrgSessions}, Org: kit.OrgCredential,
		Successor: "GET /v3/organizations/{org_id}/sessions/{devin_id}",
	}, own)
	kit.Register(a, kit.Op{Operation: op("admins", "/v1/enterprise/{session_id}"), Admin: true}, own)
	kit.Register(a, kit.Op{
		Operation: op("named", "/v1/organizations/{org_id}/tags/{tag}"), Admin: true,
		Successor: "GET /v3/enterprise/organizations/{org_id}/tags/{tag}",
	}, func(context.Context, access.Subject, *struct{}) (*thingOutput, error) { return &thingOutput{}, nil })
	kittest.Guard(t, a)
	return h
}

func TestAnOlderVersionsOrganizationIsTheCredentials(t *testing.T) {
	t.Parallel()
	h := older(t)
	a := h.get(t, "/v1/sessions/one", "a")
	require.Equal(t, 200, a.Status, a.Body)
	require.Equal(t, orgA, a.JSON(t)["org_id"])
	require.Equal(t, 403, h.get(t, "/v1/sessions/one", "enterprise").Status, "it belongs to none")
	require.Equal(t, orgB, h.get(t, "/v1/sessions/one?org_id="+orgB, "enterprise").JSON(t)["org_id"])
	require.Equal(t, orgA, h.get(t, "/v1/sessions/one?org_id="+orgB, "a").JSON(t)["org_id"], "a bound credential can't choose")
	require.Equal(t, 401, h.get(t, "/v1/sessions/one", "").Status)
	gone := h.get(t, "/v1/sessions/one?org_id=org-zzzz", "enterprise")
	require.Equal(t, 404, gone.Status, "an organization that isn't there, or not any more, holds nothing and takes nothing")
	require.Equal(t, "unknown organization", gone.JSON(t)["detail"])
}

func TestAnOlderSpellingOfAPathIsTheSameOperation(t *testing.T) {
	t.Parallel()
	h := older(t)
	a := h.get(t, "/v1/session/a%7Cb", "a")
	require.Equal(t, 200, a.Status, a.Body)
	require.Equal(t, "a|b", a.JSON(t)["id"])
	require.Equal(t, "/v1/session/a|b", a.JSON(t)["cap"], "the door may ask what the client sent")
}

func TestOnlyAnEnterpriseAdminPassesWhereTheDoorWantsOne(t *testing.T) {
	t.Parallel()
	for _, off := range []bool{false, true} {
		h := older(t, func(o *kit.Options) { o.EarlyCheckOff = off })
		h.keys.Put("nearly", access.Subject{Kind: access.ServiceUser, ID: "su-n"}.WithGrants(access.Grant{
			Permissions: access.Builtin()[0].Permissions &^ access.SetOf(access.ViewCodeScans),
		}))
		require.Equal(t, 200, h.get(t, "/v1/enterprise/x", "enterprise").Status)
		for _, key := range []string{"weak", "a", "worker", "nearly"} {
			require.Equal(t, 403, h.get(t, "/v1/enterprise/x", key).Status, key)
		}
	}
}

func TestADeprecatedVersionSaysSoAndLinksToItsSuccessor(t *testing.T) {
	t.Parallel()
	h := older(t)
	for path, link := range map[string]string{
		"/v1/sessions/one":                            "/v3/organizations/sessions/one",
		"/v1/session/a%7Cb%2Fc":                       "/v3/organizations/sessions/a%7Cb%2Fc",
		"/v1/organizations/" + orgA + "/tags/x%20y":   "/v3/enterprise/organizations/" + orgA + "/tags/x%20y",
		"/v1/enterprise/x":                            "",
		"/v1/organizations/" + orgA + "/tags/%3Ca%3E": "/v3/enterprise/organizations/" + orgA + "/tags/%3Ca%3E",
	} {
		for _, key := range []string{"a", "enterprise", ""} {
			a := h.get(t, path, key)
			require.Equal(t, "@1767225600", a.Header.Get("Deprecation"), path)
			want := ""
			if link != "" {
				want = "<" + link + `>; rel="successor-version"`
			}
			require.Equal(t, want, a.Header.Get("Link"), path)
		}
	}
	require.Empty(t, h.get(t, "/v3/self", "a").Header.Get("Deprecation"))
}
