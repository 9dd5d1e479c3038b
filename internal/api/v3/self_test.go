package v3_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	v3 "gantry/internal/api/v3"
	"gantry/internal/kit"
	"gantry/internal/kit/kittest"
)

func TestSelfHasOneShapePerPrincipal(t *testing.T) {
	t.Parallel()
	keys := &kittest.Keys{}
	k := kit.New(kit.Options{Authenticator: keys})
	kittest.Guard(t, v3.New(k, v3.Rooms{}))
	keys.Put("enterprise", access.Subject{Kind: access.ServiceUser, ID: "service-user-1", Name: "ci"}.WithGrants())
	keys.Put("org", access.Subject{Kind: access.ServiceUser, ID: "service-user-2", Name: "bot", OrgID: "org-1"}.WithGrants())
	keys.Put("person", access.Subject{Kind: access.Person, ID: "email|x", Name: "X", KeyID: "api-key-1", KeyName: "laptop"}.WithGrants())
	keys.Put("window", access.Subject{Kind: access.Person, ID: "email|x", OrgID: "org-1"}.WithGrants())
	keys.Put("session", access.Subject{Kind: access.SessionToken, ID: "email|x", SessionID: "abc", OrgID: "org-1"}.WithGrants())
	keys.Put("worker", access.Subject{Kind: access.Worker, ID: "worker-key-1"})
	for key, want := range map[string]string{
		"enterprise": `{"principal_type":"service_user","service_user_id":"service-user-1","service_user_name":"ci","org_id":null}`,
		"org":        `{"principal_type":"service_user","service_user_id":"service-user-2","service_user_name":"bot","org_id":"org-1"}`,
		"person":     `{"principal_type":"pat_user","user_id":"email|x","user_name":"X","api_key_id":"api-key-1","api_key_name":"laptop","org_id":null}`,
		"window":     `{"principal_type":"windsurf_session","user_id":"email|x","org_id":"org-1","user_name":null}`,
		"session":    `{"principal_type":"devin_brain","devin_id":"abc","org_id":"org-1","user_id":"email|x","creator_service_user_id":null}`,
	} {
		a := kittest.Do(t, k.Router(), "GET", "/v3/self", key, "")
		require.Equal(t, 200, a.Status, a.Body)
		require.JSONEq(t, want, a.Body)
		require.JSONEq(t, want, kittest.Do(t, k.Router(), "GET", "/v3beta1/self", key, "").Body)
	}
	require.Equal(t, 401, kittest.Do(t, k.Router(), "GET", "/v3/self", "unknown", "").Status)
	require.Equal(t, 403, kittest.Do(t, k.Router(), "GET", "/v3/self", "worker", "").Status)

	const beta = "/v3beta1/enterprise/self"
	require.JSONEq(t, `{"org_id":"org-1","service_user_id":"service-user-2","service_user_name":"bot"}`, kittest.Do(t, k.Router(), "GET", beta, "org", "").Body)
	require.Equal(t, 403, kittest.Do(t, k.Router(), "GET", beta, "person", "").Status)
}
