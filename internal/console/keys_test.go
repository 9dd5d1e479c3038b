package console_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/member"
	"gantry/internal/platform/page"
	"gantry/internal/servertest"
)

func provision(org, name string) member.ProvisionParams {
	return member.ProvisionParams{OrgID: org, Name: name, RoleID: access.RoleOrgMember, TTLSeconds: 3600}
}

var shownToken = regexp.MustCompile(`id="token"[^>]* value="((?:cog|apk|apk_user)_[a-z2-7]{52})"`)

// token takes a fresh key off a page.
func token(t *testing.T, p answer) string {
	t.Helper()
	require.Equal(t, http.StatusOK, p.status, p.body)
	m := shownToken.FindStringSubmatch(p.body)
	require.NotNil(t, m, p.body)
	return m[1]
}

func TestServiceUsersAndTheirKeysAreManaged(t *testing.T) {
	t.Parallel()
	servertest.Each(t, listening, func(t *testing.T, s *servertest.Server) {
		b := signedIn(t, s, s.Admin.Token.Reveal())
		path := "/orgs/" + s.Org + "/keys"
		p := b.post(path+"/provision", url.Values{"name": {"builder"}, "role_id": {access.RoleOrgMember}, "days": {"7"}})
		first := token(t, p)
		self := func(key string) int { return s.Do(t, http.MethodGet, "/v3/self", key, "").Status }
		require.Equal(t, http.StatusOK, self(first))
		again := b.get(path).body
		shows(t, again, "builder")
		shows(t, again, "Organization Member")
		shows(t, again, "expires in 7 days")
		hides(t, again, first, "the token is shown once")

		user := between(t, again, `popovertarget="add-`, `"`)
		second := token(t, b.post(path+"/create", url.Values{"service_user_id": {user}, "name": {"second key"}, "days": {""}}))
		keys, err := s.Members.ListKeys(t.Context(), s.Root(), user, member.KeysActive)
		require.NoError(t, err)
		require.Len(t, keys, 2)
		third := token(t, b.post(path+"/rotate", url.Values{"service_user_id": {user}, "key_id": {keys[1].ID}, "days": {"30"}}, asScript...))
		require.Equal(t, http.StatusUnauthorized, self(second), "a rotated key is over")
		require.Equal(t, http.StatusOK, self(third))
		p = b.post(path+"/revoke", url.Values{"service_user_id": {user}, "key_id": {keys[0].ID}})
		shows(t, p.body, "The key is revoked")
		require.Equal(t, http.StatusUnauthorized, self(first))
		require.Equal(t, http.StatusConflict, b.post(path+"/revoke", url.Values{"service_user_id": {user}, "key_id": {keys[0].ID}}).status)
		p = b.post(path+"/remove", url.Values{"service_user_id": {user}})
		shows(t, p.body, "The service user is removed")
		require.Equal(t, http.StatusUnauthorized, self(third))
		hides(t, p.body, "builder")
	})
}

func TestKeysOfTheOlderVersionsAreManaged(t *testing.T) {
	t.Parallel()
	servertest.Each(t, listening, func(t *testing.T, s *servertest.Server) {
		b := signedIn(t, s, s.Admin.Token.Reveal())
		user, _ := s.NewPerson(t, "ada@example.com", s.Org, access.RoleOrgMember)
		path := "/orgs/" + s.Org + "/keys"
		orgKey := token(t, b.post(path+"/organization", nil, asScript...))
		require.True(t, strings.HasPrefix(orgKey, "apk_"))
		personal := token(t, b.post(path+"/personal", url.Values{"user_id": {user}}))
		require.True(t, strings.HasPrefix(personal, "apk_user_"))
		sessions := func(key string) int { return s.Do(t, http.MethodGet, "/v1/sessions", key, "").Status }
		require.Equal(t, http.StatusOK, sessions(orgKey))
		require.Equal(t, http.StatusOK, sessions(personal))
		p := b.get(path)
		hides(t, p.body, orgKey)
		shows(t, p.body, "ada@example.com")
		require.Equal(t, 1, strings.Count(p.body, "Organization key"), "what stands behind it isn't listed as a service user")
		list, err := s.Members.ListOlderKeys(t.Context(), s.Root(), s.Org, page.Request{First: 10})
		require.NoError(t, err)
		require.Len(t, list.Items, 2)
		for _, k := range list.Items {
			shows(t, b.post(path+"/revoke-older", url.Values{"key_id": {k.ID}}).body, "The key is revoked")
		}
		require.Equal(t, http.StatusUnauthorized, sessions(orgKey))
		require.Equal(t, http.StatusUnauthorized, sessions(personal))
	})
}

func TestAPersonManagesTheirOwnKeys(t *testing.T) {
	t.Parallel()
	servertest.Each(t, listening, func(t *testing.T, s *servertest.Server) {
		_, laptop := s.NewPerson(t, "ada@example.com", s.Org, access.RoleOrgMember)
		other, _ := s.NewPerson(t, "bob@example.com", s.Org, access.RoleOrgMember)
		b := signedIn(t, s, laptop)
		path := "/orgs/" + s.Org + "/keys"
		p := b.get(path)
		shows(t, p.body, "laptop")
		shows(t, p.body, "you are signed in with it", "")
		hides(t, p.body, "Service users")
		hides(t, p.body, "New organization key")
		mine := token(t, b.post(path+"/personal", nil))
		again := signedIn(t, s, mine)
		require.Equal(t, http.StatusOK, again.get("/orgs/"+s.Org+"/sessions").status)
		require.Equal(t, http.StatusForbidden, b.post(path+"/personal", url.Values{"user_id": {other}}).status)
		keys, err := s.Members.OwnKeys(t.Context(), subject(t, s, laptop))
		require.NoError(t, err)
		require.Len(t, keys, 2)
		for _, k := range keys {
			if k.Form == access.KeyPersonal {
				shows(t, b.post(path+"/revoke-own", url.Values{"key_id": {k.ID}}).body, "The key is revoked")
			}
		}
		require.Contains(t, again.get("/").path, "/login", "its browser is signed out")
		require.Equal(t, http.StatusNotFound, b.post(path+"/revoke-own", url.Values{"key_id": {s.NewKey(t, s.Org, access.RoleOrgMember).KeyID}}).status)
	})
}

func TestWhatOneMayNotDoWithKeysIsNeitherOfferedNorDone(t *testing.T) {
	t.Parallel()
	servertest.Each(t, listening, func(t *testing.T, s *servertest.Server) {
		robot := s.NewKey(t, s.Org, access.RoleOrgMember)
		visitor, elsewhere := s.NewKey(t, "", access.RoleEnterpriseMember), s.NewKey(t, s.NewOrg(t, "elsewhere"), access.RoleOrgMember)
		s.Give(t, visitor, s.Org, access.RoleOrgMember)
		_, err := s.Members.CreateOrgKey(t.Context(), s.Root(), s.Org)
		require.NoError(t, err)
		admin := signedIn(t, s, s.NewKey(t, s.Org, access.RoleOrgAdmin).Token)
		plain := signedIn(t, s, robot.Token)
		path := "/orgs/" + s.Org + "/keys"
		p := admin.get(path)
		shows(t, p.body, "New service user", "an organization's admin provisions")
		hides(t, p.body, "New organization key")
		shows(t, p.body, robot.ServiceUserID, "and sees whom the organization has")
		hides(t, p.body, `popovertarget="add-`, "and does nothing with their keys")
		hides(t, p.body, visitor.ServiceUserID, "those of the enterprise are members, which it may not read")
		hides(t, p.body, "API key", "what stands behind an organization's key is none")
		hides(t, p.body, elsewhere.ServiceUserID)
		hides(t, p.body, "/enterprise/keys")
		require.NotEmpty(t, token(t, admin.post(path+"/provision", url.Values{"name": {"n"}, "role_id": {access.RoleOrgAdmin}, "days": {"1"}})))
		form := url.Values{
			"name": {"n"}, "role_id": {access.RoleOrgAdmin}, "days": {"1"}, "service_user_id": {robot.ServiceUserID}, "key_id": {robot.KeyID},
		}
		before := s.Do(t, http.MethodGet, "/v3/enterprise/members/service-users", s.Admin.Token.Reveal(), "").Body
		for _, action := range []string{"provision", "create", "rotate", "revoke", "remove", "organization", "personal", "revoke-older", "revoke-own"} {
			require.Equal(t, http.StatusForbidden, plain.post(path+"/"+action, form).status, action)
			if action != "provision" {
				require.Equal(t, http.StatusForbidden, admin.post(path+"/"+action, form).status, action)
			}
			require.Equal(t, http.StatusForbidden, admin.post("/enterprise/keys/"+action, form).status, action)
		}
		require.Equal(t, before, s.Do(t, http.MethodGet, "/v3/enterprise/members/service-users", s.Admin.Token.Reveal(), "").Body)
		require.Equal(t, http.StatusForbidden, admin.get("/enterprise/keys").status)
		require.Equal(t, http.StatusNotFound, admin.post(path+"/explode", form).status)
	})
}

func TestTheEnterprisesServiceUsersHaveAPageOfTheirOwn(t *testing.T) {
	t.Parallel()
	servertest.Each(t, listening, func(t *testing.T, s *servertest.Server) {
		b := signedIn(t, s, s.Admin.Token.Reveal())
		p := b.post("/enterprise/keys/provision", url.Values{"name": {"auditor"}, "role_id": {access.RoleEnterpriseMember}, "days": {"1"}})
		key := token(t, p)
		require.Equal(t, http.StatusOK, s.Do(t, http.MethodGet, "/v3/self", key, "").Status)
		shows(t, b.get("/enterprise/keys").body, "auditor")
		wrong := b.post("/enterprise/keys/provision", url.Values{"name": {""}, "role_id": {access.RoleEnterpriseMember}, "days": {"1"}})
		require.Equal(t, http.StatusUnprocessableEntity, wrong.status)
		shows(t, wrong.body, "Not done.")
	})
}
