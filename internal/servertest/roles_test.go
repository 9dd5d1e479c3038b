package servertest_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/servertest"
)

func TestACustomRoleFromItsMakingToItsEnd(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Options{}, func(t *testing.T, s *servertest.Server) {
		admin := s.Admin.Token.Reveal()
		const roles = "/gantry/v1/roles"
		body := `{"role_name":"Keeper","role_type":"org","permissions":["ManageOrgMembership","ManageOrgSecrets"],"unknown":1}`
		a := s.Do(t, http.MethodPost, roles, admin, body, "Idempotency-Key", "once")
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		roleID := a.JSON(t)["role_id"].(string)
		want := `{"role_id":"` + roleID + `","role_name":"Keeper","role_type":"org","is_builtin":false,
			"permissions":["ManageOrgSecrets","ViewOrgMembership","ManageOrgMembership"]}`
		require.JSONEq(t, want, a.Body)
		require.Equal(t, a.Body, s.Do(t, http.MethodPost, roles, admin, body, "Idempotency-Key", "once").Body)
		one := roles + "/" + roleID
		require.JSONEq(t, want, s.Do(t, http.MethodGet, one, admin, "").Body)
		// The contract's door shows it too.
		require.JSONEq(t, `{"role_id":"`+roleID+`","role_name":"Keeper","role_type":"org",
			"permissions":["ManageOrgSecrets","ViewOrgMembership","ManageOrgMembership"]}`, s.Do(t, http.MethodGet, "/v3/enterprise/roles/"+roleID, admin, "").Body)
		for _, path := range []string{"/v3/enterprise/roles", roles} {
			require.Contains(t, s.Do(t, http.MethodGet, path, admin, "").Body, roleID)
		}

		key := s.NewKey(t, s.Org, roleID)
		secrets := "/v3/organizations/" + s.Org + "/secrets"
		require.Equal(t, http.StatusOK, s.Do(t, http.MethodGet, secrets, key.Token, "").Status)
		a = s.Do(t, http.MethodDelete, one, admin, "")
		require.Equal(t, http.StatusConflict, a.Status, a.Body)
		require.Contains(t, a.Body, "1 service user")
		a = s.Do(t, http.MethodPatch, one, admin, `{"permissions":["ViewOrgSessions"]}`)
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		require.Equal(t, "Keeper", a.JSON(t)["role_name"], "what is left out stays")
		require.Equal(t, http.StatusForbidden, s.Do(t, http.MethodGet, secrets, key.Token, "").Status, "at once")

		for body, field := range map[string]string{
			`{"role_name":null}`: "role_name", `{"role_type":null}`: "role_type", `{"permissions":null}`: "permissions",
			`{"role_type":"enterprise"}`: "role_type", `{"permissions":["Nope"]}`: "permissions", `{"permissions":["ViewOrgSessions","ManageBilling"]}`: "permissions",
			`{"role_name":""}`: "role_name",
		} {
			a = s.Do(t, http.MethodPatch, one, admin, body)
			require.Equal(t, http.StatusUnprocessableEntity, a.Status, "%s: %s", body, a.Body)
			require.Contains(t, a.Body, `"body","`+field+`"`, body)
		}
		for _, body := range []string{`{}`, `{"role_name":"x","role_type":"team","permissions":[]}`, `{"role_name":"x","role_type":"org"}`} {
			require.Equal(t, http.StatusUnprocessableEntity, s.Do(t, http.MethodPost, roles, admin, body).Status, body)
		}
		require.Equal(t, http.StatusConflict, s.Do(t, http.MethodPatch, roles+"/"+access.RoleOrgMember, admin, `{"role_name":"x"}`).Status)
		require.Equal(t, http.StatusConflict, s.Do(t, http.MethodDelete, roles+"/"+access.RoleOrgMember, admin, "").Status)
		require.Equal(t, http.StatusNotFound, s.Do(t, http.MethodGet, roles+"/role-none", admin, "").Status)

		clerk := s.NewKey(t, "", s.NewRole(t, access.Enterprise, access.ManageAccountMembership)).Token
		a = s.Do(t, http.MethodPost, roles, clerk, `{"role_name":"x","role_type":"enterprise","permissions":["ManageBilling"]}`)
		require.Equal(t, http.StatusForbidden, a.Status, a.Body)
		require.Contains(t, a.Body, "ManageBilling")
		a = s.Do(t, http.MethodPatch, "/v3/enterprise/members/service-users/"+key.ServiceUserID, clerk, `{"role_id":"`+access.RoleEnterpriseAdmin+`"}`)
		require.Equal(t, http.StatusForbidden, a.Status, a.Body)

		require.Equal(t, http.StatusOK, s.Do(t, http.MethodDelete, "/v3/enterprise/members/service-users/"+key.ServiceUserID, admin, "").Status)
		require.Equal(t, http.StatusOK, s.Do(t, http.MethodDelete, one, admin, "").Status)
		require.Equal(t, http.StatusNotFound, s.Do(t, http.MethodGet, one, admin, "").Status)
		for _, action := range []string{"create_role", "update_role", "delete_role"} {
			a = s.Do(t, http.MethodGet, "/v3/enterprise/audit-logs?action="+action, admin, "")
			require.Contains(t, a.Body, roleID, action)
		}
	})
}
