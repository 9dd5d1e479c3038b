package kit_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/kit"
)

func TestTheDocumentSaysWhatTheWireDoes(t *testing.T) {
	t.Parallel()
	type inner struct {
		Name string `json:"name" minLength:"1"`
	}
	type nullable struct {
		_ struct{} `nullable:"true"`

		Name string `json:"name"`
	}
	type input struct {
		Body struct {
			Inner kit.Optional[inner]    `json:"inner,omitempty"`
			List  kit.Optional[[]string] `json:"list,omitempty" maxItems:"2"`
			Mode  kit.Optional[string]   `json:"mode,omitempty" enum:"a,b"`
		}
	}
	type answer struct {
		Text  *string   `json:"text"`
		Inner *nullable `json:"inner"`
		Many  []inner   `json:"many"`
	}
	type output struct{ Body answer }
	h := newHouse(t)
	kit.Register(h.api, kit.Op{Operation: huma.Operation{OperationID: "doc", Method: http.MethodPut, Path: "/v3/doc"}, AnyPrincipal: true},
		func(_ context.Context, _ access.Subject, in *input) (*output, error) {
			out := &output{Body: answer{Many: kit.List[inner](nil)}}
			if in.Body.Inner.Has() {
				out.Body.Inner = &nullable{Name: in.Body.Inner.Value.Name}
			}
			return out, nil
		})
	a := h.do(t, "PUT", "/v3/doc", "a", `{"inner":null,"list":null,"mode":null}`)
	require.Equal(t, 200, a.Status, a.Body)
	require.JSONEq(t, `{"text":null,"inner":null,"many":[]}`, a.Body)
	require.JSONEq(t, `{"text":null,"inner":{"name":"n"},"many":[]}`, h.do(t, "PUT", "/v3/doc", "a", `{"inner":{"name":"n"}}`).Body)
	a = h.do(t, "PUT", "/v3/doc", "a", `{"inner":{"name":""}}`)
	require.Contains(t, a.Body, `["body","inner","name"]`)

	first, err := kit.OpenAPI(h.api)
	require.NoError(t, err)
	again, err := kit.OpenAPI(h.api)
	require.NoError(t, err)
	require.Equal(t, first, again)
	var doc map[string]any
	require.NoError(t, json.Unmarshal(first, &doc))
	require.Equal(t, "3.1.0", doc["openapi"])
	at := func(path ...string) any {
		var v any = doc
		for _, p := range path {
			v = v.(map[string]any)[p]
		}
		return v
	}
	schemas := at("components", "schemas").(map[string]any)
	req := schemas["InputBody"].(map[string]any)
	require.Nil(t, req["required"])
	props := req["properties"].(map[string]any)
	require.Empty(t, cmp.Diff([]any{"object", "null"}, props["inner"].(map[string]any)["type"]))
	require.Empty(t, cmp.Diff([]any{"array", "null"}, props["list"].(map[string]any)["type"]))
	require.Empty(t, cmp.Diff([]any{"a", "b", nil}, props["mode"].(map[string]any)["enum"]))
	out := schemas["Answer"].(map[string]any)
	require.ElementsMatch(t, []any{"text", "inner", "many"}, out["required"])
	require.Empty(t, cmp.Diff([]any{"object", "null"}, schemas["Nullable"].(map[string]any)["type"]))
	require.Equal(t, "array", out["properties"].(map[string]any)["many"].(map[string]any)["type"], "lists are never null")

	create := at("paths", "/v3/organizations/{org_id}/sessions", "post").(map[string]any)
	require.Equal(t, []any{"UseDevinSessions", "ManageOrgSessions"}, create["x-permission"])
	require.Contains(t, create["description"], "Needs one of the permissions UseDevinSessions, ManageOrgSessions.")
	require.NotNil(t, create["security"])
	require.Equal(t, []any{"ReadAccountMeta"}, at("paths", "/v3/self", "get", "x-permission"))
	require.Nil(t, at("paths", "/v3/ping", "get", "security"))
	require.Contains(t, string(first), `"application/problem+json"`)
	require.NotContains(t, string(first), "$schema")
	require.Empty(t, h.get(t, "/v3/self", "a").Header.Get("Link"))
}

func TestOperationsAreDescribedWhileOthersAreCalled(t *testing.T) {
	t.Parallel()
	type inner struct {
		Name string `json:"name" minLength:"1"`
	}
	type input struct {
		Body struct {
			Inner inner   `json:"inner"`
			Many  []inner `json:"many,omitempty"`
		}
	}
	type output struct{ Body inner }
	h := newHouse(t)
	const many = 50
	for i := range many {
		id := fmt.Sprintf("lazy%d", i)
		kit.Register(h.api, kit.Op{Operation: huma.Operation{OperationID: id, Method: http.MethodPost, Path: "/v3/" + id}, AnyPrincipal: true},
			func(_ context.Context, _ access.Subject, in *input) (*output, error) {
				return &output{in.Body.Inner}, nil
			})
	}
	var wg sync.WaitGroup
	for i := range 2 * many {
		wg.Go(func() {
			a := h.do(t, "POST", fmt.Sprintf("/v3/lazy%d", i%many), "a", `{"inner":{"name":"n"},"many":[{"name":"m"}]}`)
			assert(t, a.Status == 200, a.Body)
		})
	}
	wg.Go(func() { h.api.OpenAPI() })
	wg.Wait()
	require.NotNil(t, h.api.OpenAPI().Paths["/v3/lazy49"].Post)
}

// assert fails from any goroutine.
func assert(t *testing.T, ok bool, text string) {
	t.Helper()
	if !ok {
		t.Error(text)
	}
}

func TestADefaultThatNobodyWouldFillInIsRefused(t *testing.T) {
	t.Parallel()
	type input struct {
		Body struct {
			Many []struct {
				Mode string `json:"mode,omitempty" default:"fast"`
			} `json:"many"`
		}
	}
	h := newHouse(t)
	kit.Register(h.api, kit.Op{Operation: huma.Operation{OperationID: "d", Method: http.MethodPost, Path: "/v3/d"}, AnyPrincipal: true},
		func(context.Context, access.Subject, *input) (*struct{}, error) { return nil, nil })
	require.PanicsWithValue(t, "kit: d: the member Mode has a default; take an Optional and its Or", func() { h.api.OpenAPI() })
}
