package v3_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/servertest"
)

func TestASecretsLifeOverTheWire(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Options{}, func(t *testing.T, s *servertest.Server) {
		org := s.NewOrg(t, "ours")
		key := s.NewKey(t, org, access.RoleOrgAdmin)
		path := "/v3/organizations/" + org + "/secrets"
		const body = `{"type": "key-value", "key": "API_KEY", "value": "hunter2hunter2", "note": "for tests"}`
		a := s.Do(t, http.MethodPost, path, key.Token, body)
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		made := a.JSON(t)
		id, _ := made["secret_id"].(string)
		require.Regexp(t, "^secret-[0-9a-f]{32}$", id)
		require.Equal(t, map[string]any{
			"secret_id": id, "key": "API_KEY", "note": "for tests", "secret_type": "key-value", "access_type": "org", "is_sensitive": true,
			"created_by": key.ServiceUserID, "created_at": made["created_at"], "updated_at": nil, "updated_by": nil,
		}, made)
		a = s.Do(t, http.MethodPost, path, key.Token, body)
		require.Equal(t, http.StatusConflict, a.Status, a.Body)
		a = s.Do(t, http.MethodPost, "/v3/organizations/secrets", key.Token, `{"type": "totp", "key": "SEED", "value": "hunter2!"}`)
		require.Equal(t, http.StatusUnprocessableEntity, a.Status, a.Body)
		require.NotContains(t, a.Body, "hunter2")
		a = s.Do(t, http.MethodGet, path, key.Token, "")
		require.Equal(t, []any{made}, a.JSON(t)["items"])
		a = s.Do(t, http.MethodDelete, path+"/"+id, key.Token, "")
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		require.Equal(t, made, a.JSON(t))
		a = s.Do(t, http.MethodDelete, path+"/"+id, key.Token, "")
		require.Equal(t, http.StatusNotFound, a.Status, a.Body)
		require.NotContains(t, s.Log(), "hunter2", "nothing of a value is logged")
	})
}
