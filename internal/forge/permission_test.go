package forge_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gantry/internal/access"
	"gantry/internal/forge"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
	"gantry/internal/platform/secret"
	"gantry/internal/wire"
)

func repo(c, path string) forge.PermissionParams {
	return forge.PermissionParams{ConnectionID: c, RepoPath: &path}
}

func group(c, path string) forge.PermissionParams {
	return forge.PermissionParams{ConnectionID: c, GroupPrefix: &path}
}

func prefix(c, path string) forge.PermissionParams {
	return forge.PermissionParams{ConnectionID: c, PrefixPath: &path}
}

func readOnly(p forge.PermissionParams) forge.PermissionParams { p.ReadOnly = true; return p }

func TestAPermissionCoversWhatItsScopeSays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		provider forge.Provider
		list     []forge.PermissionParams
		path     string
		allowed  bool
		readOnly bool
	}{
		{forge.GitHubToken, nil, "acme/shop", false, false},
		{forge.GitHubToken, []forge.PermissionParams{repo("", "acme/shop")}, "acme/shop", true, false},
		{forge.GitHubToken, []forge.PermissionParams{repo("", "Acme/Shop")}, "acme/SHOP", true, false},
		{forge.Plain, []forge.PermissionParams{repo("", "Acme/Shop")}, "acme/shop", false, false},
		{forge.GitHubToken, []forge.PermissionParams{repo("", "acme/shop")}, "acme/shop2", false, false},
		{forge.GitHubToken, []forge.PermissionParams{repo("", "acme/shop")}, "acme/shop/sub", false, false},
		{forge.GitLabToken, []forge.PermissionParams{group("", "acme")}, "acme/web/shop", true, false},
		{forge.GitLabToken, []forge.PermissionParams{group("", "acme/web")}, "acme/web/shop", true, false},
		{forge.GitLabToken, []forge.PermissionParams{group("", "acme/we")}, "acme/web/shop", false, false},
		{forge.GitLabToken, []forge.PermissionParams{group("", "acme")}, "acme", false, false},
		{forge.GitLabToken, []forge.PermissionParams{group("", "acme")}, "acme-evil/x", false, false},
		{forge.GitLabToken, []forge.PermissionParams{prefix("", "acme/we")}, "acme/web/shop", true, false},
		{forge.GitLabToken, []forge.PermissionParams{prefix("", "acme/")}, "acme/x", true, false},
		{forge.GitLabToken, []forge.PermissionParams{prefix("", "acme/")}, "acme2/x", false, false},
		// read_only stays only while no writable one covers it, whatever their order.
		{forge.GitHubToken, []forge.PermissionParams{readOnly(group("", "acme"))}, "acme/shop", true, true},
		{forge.GitHubToken, []forge.PermissionParams{readOnly(group("", "acme")), repo("", "acme/shop")}, "acme/shop", true, false},
		{forge.GitHubToken, []forge.PermissionParams{prefix("", "ac"), readOnly(repo("", "acme/shop"))}, "acme/shop", true, false},
		{forge.GitHubToken, []forge.PermissionParams{readOnly(group("", "acme")), repo("", "acme/site")}, "acme/shop", true, true},
	} {
		allowed, ro, err := forge.RightsOf(c.provider, c.list, c.path)
		require.NoError(t, err)
		require.Equal(t, []bool{c.allowed, c.readOnly}, []bool{allowed, ro}, "%v on %s", c.list, c.path)
	}
}

// A group is the prefix that ends with its slash, and nothing a list says depends on its order.
func TestGroupsArePrefixesWithABoundary(t *testing.T) {
	t.Parallel()
	segment := rapid.StringMatching(`[a-c]{1,2}`)
	rapid.Check(t, func(t *rapid.T) {
		g := strings.Join(rapid.SliceOfN(segment, 1, 3).Draw(t, "group"), "/")
		path := strings.Join(rapid.SliceOfN(segment, 1, 4).Draw(t, "path"), "/")
		byGroup, _, err := forge.RightsOf(forge.GitLabToken, []forge.PermissionParams{group("", g)}, path)
		require.NoError(t, err)
		byPrefix, _, err := forge.RightsOf(forge.GitLabToken, []forge.PermissionParams{prefix("", g+"/")}, path)
		require.NoError(t, err)
		require.Equal(t, byPrefix, byGroup)
		require.Equal(t, strings.HasPrefix(path, g+"/"), byGroup)
	})
}

func TestAPermissionNamesExactlyOneScope(t *testing.T) {
	t.Parallel()
	h := newHouse(t, db.SQLite, nil)
	c := h.github(t)
	text := func(s string) *string { return &s }
	for name, p := range map[string]struct {
		params forge.PermissionParams
		loc    string
	}{
		"none":                    {forge.PermissionParams{}, ""},
		"two":                     {forge.PermissionParams{RepoPath: text("a/b"), GroupPrefix: text("a")}, ""},
		"three":                   {forge.PermissionParams{RepoPath: text("a/b"), GroupPrefix: text("a"), PrefixPath: text("a")}, ""},
		"an empty path":           {repo("", ""), "repo_path"},
		"an empty group":          {group("", ""), "group_prefix"},
		"an empty prefix":         {prefix("", ""), "prefix_path"},
		"a group with a slash":    {group("", "acme/"), "group_prefix"},
		"a path with a slash":     {repo("", "acme/shop/"), "repo_path"},
		"a slash first":           {prefix("", "/acme"), "prefix_path"},
		"an empty segment":        {repo("", "acme//shop"), "repo_path"},
		"a way up":                {repo("", "acme/../other"), "repo_path"},
		"a way up in a prefix":    {prefix("", "acme/../oth"), "prefix_path"},
		"a line end":              {repo("", "acme/shop\n"), "repo_path"},
		"far too long":            {repo("", strings.Repeat("a", 2000)), "repo_path"},
		"the built-in connection": {repo(forge.Listed, "tools"), "git_connection_id"},
	} {
		if p.params.ConnectionID == "" {
			p.params.ConnectionID = c.ID
		}
		for _, make := range []func() error{
			func() error {
				_, err := h.AddPermissions(t.Context(), operator, "org-a", []forge.PermissionParams{repo(c.ID, "fine/one"), p.params})
				return err
			},
			func() error {
				_, err := h.ReplacePermissions(t.Context(), operator, "org-a", []forge.PermissionParams{repo(c.ID, "fine/one"), p.params})
				return err
			},
		} {
			err := make()
			require.True(t, fault.Is(err, fault.Invalid), "%s: %v", name, err)
			want := []string{"body", "permissions", "1"}
			if p.loc != "" {
				want = append(want, p.loc)
			}
			require.Equal(t, want, fault.As(err).Fields[0].Loc, name)
		}
	}
	many := make([]forge.PermissionParams, 201)
	for i := range many {
		many[i] = repo(c.ID, "a/"+strings.Repeat("x", i+1))
	}
	_, err := h.AddPermissions(t.Context(), operator, "org-a", many)
	require.True(t, fault.Is(err, fault.Invalid), "%v", err)
	_, err = h.AddPermissions(t.Context(), operator, "org-a", []forge.PermissionParams{repo(c.ID, "a/b"), repo("git-connection-none", "a/b")})
	require.True(t, fault.Is(err, fault.NotFound), "%v", err)
	require.ErrorContains(t, err, "permissions.1.git_connection_id")
	_, err = h.AddPermissions(t.Context(), operator, "org-a", []forge.PermissionParams{repo(c.ID, "a/b"), readOnly(repo(c.ID, "A/b"))})
	require.True(t, fault.Is(err, fault.Invalid), "twice in one body: %v", err)
	p, err := h.Permissions(t.Context(), operator, "org-a", page.Request{First: 10})
	require.NoError(t, err)
	require.Empty(t, p.Items, "a body with a mistake grants nothing")
	got, err := h.AddPermissions(t.Context(), operator, "org-a", many[:200])
	require.NoError(t, err)
	require.Len(t, got, 200)
}

func TestPermissionsAreAddedReplacedChangedAndTakenBack(t *testing.T) {
	t.Parallel()
	each(t, nil, func(t *testing.T, h *house) {
		ctx, c := t.Context(), h.github(t)
		first := h.allow(t, "org-a", repo(c.ID, "acme/shop"), readOnly(group(c.ID, "team")))
		require.Equal(t, "team", first[1].Value, "a group is given without its slash")
		h.allow(t, "org-b", repo(c.ID, "acme/shop"))
		_, err := h.AddPermissions(ctx, operator, "org-a", []forge.PermissionParams{repo(c.ID, "new/one"), repo(c.ID, "ACME/shop")})
		require.True(t, fault.Is(err, fault.Conflict), "%v", err)
		require.ErrorContains(t, err, "permissions.1")
		h.time.Advance(time.Second)
		more := h.allow(t, "org-a", group(c.ID, "acme"), prefix(c.ID, "acme"))

		p, err := h.Permissions(ctx, reader, "org-a", page.Request{First: 3})
		require.NoError(t, err)
		require.True(t, p.More)
		require.Len(t, p.Items, 3)
		p, err = h.Permissions(ctx, reader, "org-a", page.Request{First: 3, After: p.End})
		require.NoError(t, err)
		require.Equal(t, more[1].ID, p.Items[0].ID)

		set, err := h.ReplacePermissions(ctx, operator, "org-a", []forge.PermissionParams{prefix(c.ID, "z"), group(c.ID, "team"), repo(c.ID, "acme/shop")})
		require.NoError(t, err)
		require.Equal(t, []string{"z", "team", "acme/shop"}, []string{set[0].Value, set[1].Value, set[2].Value})
		require.Equal(t, []string{first[1].ID, first[0].ID}, []string{set[1].ID, set[2].ID}, "what stays keeps its id")
		require.False(t, set[1].ReadOnly)
		_, err = h.ReplacePermissions(ctx, operator, "org-a", []forge.PermissionParams{repo("git-connection-none", "x")})
		require.True(t, fault.Is(err, fault.NotFound), "%v", err)

		on := true
		got, err := h.UpdatePermission(ctx, operator, "org-a", set[0].ID, &on)
		require.NoError(t, err)
		require.True(t, got.ReadOnly)
		got, err = h.UpdatePermission(ctx, operator, "org-a", set[0].ID, nil)
		require.NoError(t, err)
		require.True(t, got.ReadOnly, "null and absent keep")
		_, err = h.UpdatePermission(ctx, operator, "org-b", set[0].ID, &on)
		require.True(t, fault.Is(err, fault.NotFound), "another organization's: %v", err)
		_, err = h.DeletePermission(ctx, operator, "org-b", set[0].ID)
		require.True(t, fault.Is(err, fault.NotFound), "%v", err)
		got, err = h.DeletePermission(ctx, operator, "org-a", set[0].ID)
		require.NoError(t, err)
		require.Equal(t, "z", got.Value)
		_, err = h.DeletePermission(ctx, operator, "org-a", set[0].ID)
		require.True(t, fault.Is(err, fault.NotFound), "%v", err)

		gone, err := h.ClearPermissions(ctx, operator, "org-a")
		require.NoError(t, err)
		require.Len(t, gone, 2)
		gone, err = h.ClearPermissions(ctx, operator, "org-a")
		require.NoError(t, err)
		require.Empty(t, gone)
		p, err = h.Permissions(ctx, reader, "org-b", page.Request{First: 3})
		require.NoError(t, err)
		require.Len(t, p.Items, 1, "another organization keeps its own")
		require.Equal(t, "create_github_integration create_git_permission create_git_permission create_git_permission create_git_permission "+
			"create_git_permission update_git_permission delete_git_permission delete_git_permission create_git_permission update_git_permission "+
			"delete_git_permission delete_git_permission delete_git_permission", strings.Join(h.actions(t), " "))
	})
}

// Whoever replaces the set leaves it as they said, also where there was none that could be held.
func TestOfTwoSetsAtOnceOneStays(t *testing.T) {
	t.Parallel()
	each(t, nil, func(t *testing.T, h *house) {
		const org = "org-a"
		ctx, c := t.Context(), h.github(t)
		require.NoError(t, h.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
			_, err := db.Exec(ctx, tx, `INSERT INTO organizations (org_id, name, created_at, updated_at) VALUES ($1, 'A', 1, 1)`, org)
			return err
		}))
		for range 10 {
			var wg sync.WaitGroup
			for _, names := range []string{"ab", "cd", "ab", "ef"} {
				wg.Go(func() {
					_, err := h.ReplacePermissions(ctx, operator, org, []forge.PermissionParams{repo(c.ID, "x/"+names[:1]), repo(c.ID, "x/"+names[1:])})
					require.NoError(t, err)
				})
			}
			wg.Wait()
			p, err := h.Permissions(ctx, reader, org, page.Request{First: 10})
			require.NoError(t, err)
			var got []string
			for _, i := range p.Items {
				got = append(got, i.Value)
			}
			slices.Sort(got)
			require.Contains(t, []string{"x/a x/b", "x/c x/d", "x/e x/f"}, strings.Join(got, " "))
			wg.Go(func() {
				_, err := h.ReplacePermissions(ctx, operator, org, nil)
				require.NoError(t, err)
			})
			wg.Go(func() {
				_, err := h.ClearPermissions(ctx, operator, org)
				require.NoError(t, err)
			})
			wg.Wait()
		}
	})
}

func shops(w http.ResponseWriter, _ *http.Request) {
	write(w, []object{{"id": 1, "full_name": "Acme/Shop"}, {"id": 2, "full_name": "acme/site"}, {"id": 3, "full_name": "acme-evil/x"}, {"id": 4, "full_name": "team/shop"}})
}

func TestASessionNamesOnlyWhatItsOrganizationMayUse(t *testing.T) {
	t.Parallel()
	each(t, shops, func(t *testing.T, h *house) {
		ctx, c := t.Context(), h.github(t)
		refused := func(orgID, name string) string {
			t.Helper()
			_, err := h.Resolve(ctx, orgID, []string{name})
			require.True(t, fault.Is(err, fault.Invalid), "%q: %v", name, err)
			require.Equal(t, []string{"body", "repos", "0"}, fault.As(err).Fields[0].Loc)
			return strings.ReplaceAll(fault.As(err).Message, name, "NAME")
		}
		one := func(orgID, name string) forge.Repository {
			t.Helper()
			got, err := h.Resolve(ctx, orgID, []string{name})
			require.NoError(t, err)
			return got[0]
		}
		nothing := refused("org-a", "acme/shop")
		h.allow(t, "org-a", readOnly(group(c.ID, "acme")))
		got := one("org-a", "acme/shop")
		require.Empty(t, cmp.Diff(forge.Repository{
			Name: "Acme/Shop", Path: "Acme/Shop", URL: "https://github.example.com/Acme/Shop.git", ConnectionID: c.ID, ProviderID: "1",
			CreatedAt: got.CreatedAt, ReadOnly: true,
		}, got, cmpopts.IgnoreUnexported(forge.Repository{})))
		require.Equal(t, "Acme/Shop", one("org-a", "github.example.com/acme/shop.git").Name)
		require.Equal(t, nothing, refused("org-b", "acme/shop"), "what may not be used answers like what isn't there")
		require.Equal(t, nothing, refused("org-a", "acme-evil/x"))
		require.Equal(t, nothing, refused("org-a", "acme/none"))
		require.Equal(t, nothing, refused("org-a", "acme/../team/shop"))
		require.Equal(t, nothing, refused("org-a", "other.example.com/acme/shop"))
		h.allow(t, "org-a", repo(c.ID, "acme/site"))
		require.False(t, one("org-a", "acme/site").ReadOnly)
		h.allow(t, "org-a", repo(c.ID, "hidden/one"))
		require.Equal(t, "https://github.example.com/hidden/one.git", one("org-a", "hidden/one").URL, "what a permission names needn't be listed")

		// The operator's list is everybody's, and comes first where only the path is said.
		_, err := h.Add(ctx, operator, forge.Listed, "Acme/Shop", "https://mirror.example.com/acme/shop")
		require.NoError(t, err)
		require.Equal(t, forge.Listed, one("org-b", "Acme/Shop").ConnectionID)
		require.Equal(t, forge.Listed, one("org-a", "Acme/Shop").ConnectionID)
		require.Equal(t, c.ID, one("org-a", "github.example.com/Acme/Shop").ConnectionID)
		_, err = h.Add(ctx, operator, forge.Listed, "acme/site", "https://github.example.com/acme/site")
		require.NoError(t, err)
		require.Equal(t, c.ID, one("org-a", "acme/site").ConnectionID, "on the same host the connection has the credential")

		// Two hosts with one path have to be told apart, also within a session.
		other := h.connect(t, forge.ConnectionParams{Provider: forge.GitHubToken, Host: "second.example.com", Token: secret.New("x")})
		h.allow(t, "org-a", repo(other.ID, "team/shop"), repo(c.ID, "team/shop"))
		require.Contains(t, refused("org-a", "team/shop"), "several hosts")
		both, err := h.Resolve(ctx, "org-a", []string{"second.example.com/team/shop", "github.example.com/team/shop", "second.example.com/team/Shop"})
		require.NoError(t, err)
		require.Len(t, both, 2)
		require.Equal(t, []string{"team/shop", "github.example.com/team/shop"}, []string{both[0].Name, both[1].Name})
		require.Equal(t, []string{other.ID, c.ID}, []string{both[0].ConnectionID, both[1].ConnectionID})
	})
}

func TestWhatTheProviderHasNotShownYetIsAskedFor(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	rows := []object{{"id": 1, "full_name": "acme/old"}}
	h := newHouse(t, db.SQLite, func(w http.ResponseWriter, _ *http.Request) { asked.Add(1); write(w, rows) })
	c := h.github(t)
	h.allow(t, "org-a", group(c.ID, "acme"))
	_, err := h.Resolve(t.Context(), "org-a", []string{"acme/old"})
	require.NoError(t, err)
	rows = []object{{"id": 1, "full_name": "acme/old"}, {"id": 2, "full_name": "acme/new"}}
	_, err = h.Resolve(t.Context(), "org-a", []string{"acme/new", "acme/new2"})
	require.True(t, fault.Is(err, fault.Invalid), "it was listed a moment ago: %v", err)
	require.EqualValues(t, 1, asked.Load())
	h.time.Advance(time.Minute)
	_, err = h.Resolve(t.Context(), "org-a", []string{"acme/new", "acme/old"})
	require.NoError(t, err)
	require.EqualValues(t, 2, asked.Load())

	away := newHouse(t, db.SQLite, text(http.StatusBadGateway, ""))
	c = away.github(t)
	away.allow(t, "org-a", group(c.ID, "acme"))
	_, err = away.Resolve(t.Context(), "org-a", []string{"acme/x"})
	require.True(t, fault.Is(err, fault.Unavailable), "nobody knows yet what there is: %v", err)
}

func TestEachOperationIsAllowedOrRefusedAsThePermissionsAreThen(t *testing.T) {
	t.Parallel()
	each(t, shops, func(t *testing.T, h *house) {
		ctx, c := t.Context(), h.github(t)
		made := h.allow(t, "org-a", group(c.ID, "acme"))[0]
		use := h.session(t, "org-a", "s1", "acme/shop")
		try := func(op string) error {
			reply, err := h.Credential(ctx, use, op)
			if err == nil {
				require.Equal(t, "ghp_secret", reply.Password)
			} else {
				require.Nil(t, reply)
			}
			return err
		}
		for _, op := range []string{"clone", "fetch", "push"} {
			require.NoError(t, try(op))
		}
		require.True(t, fault.Is(try("delete"), fault.Invalid))
		spec := func() (string, bool, bool, string) {
			t.Helper()
			s, err := h.Spec(ctx, "org-a", "s1", []string{use.Name})
			require.NoError(t, err)
			return s[0].URL, s[0].Credential, s[0].ReadOnly, s[0].Refused
		}
		url, credential, ro, why := spec()
		require.Equal(t, "https://github.example.com/Acme/Shop.git", url)
		require.True(t, credential)
		require.False(t, ro)
		require.Empty(t, why)

		on := true
		_, err := h.UpdatePermission(ctx, operator, "org-a", made.ID, &on)
		require.NoError(t, err)
		require.NoError(t, try("fetch"))
		require.True(t, fault.Is(try("push"), fault.Forbidden))
		_, _, ro, _ = spec()
		require.True(t, ro)

		// Another connection with the same path doesn't take the name's place.
		other := h.connect(t, forge.ConnectionParams{Provider: forge.GitHubToken, Host: "second.example.com", Token: secret.New("other")})
		h.allow(t, "org-a", repo(other.ID, "acme/shop"))
		_, err = h.DeletePermission(ctx, operator, "org-a", made.ID)
		require.NoError(t, err)
		for _, op := range []string{"clone", "fetch", "push"} {
			require.True(t, fault.Is(try(op), fault.Forbidden), op)
		}
		url, credential, _, why = spec()
		require.Equal(t, "https://github.example.com/Acme/Shop.git", url, "git hears it when it asks")
		require.True(t, credential)
		require.Empty(t, why)
		_, err = h.DeleteConnection(ctx, operator, c.ID)
		require.NoError(t, err)
		require.True(t, fault.Is(try("fetch"), fault.NotFound))
		url, _, _, why = spec()
		require.Empty(t, url)
		require.Contains(t, why, "not listed any more")

		_, err = h.Add(ctx, operator, forge.Listed, "tools", "https://git.example.com/tools")
		require.NoError(t, err)
		reply, err := h.Credential(ctx, forge.Use{OrgID: "org-b", SessionID: "of an earlier release", Name: "tools"}, "push")
		require.NoError(t, err)
		require.Empty(t, *reply)
	})
}

func TestAFileOfAConnectionIsGoneForWhoMayNotUseItAnyMore(t *testing.T) {
	t.Parallel()
	h := newHouse(t, db.SQLite, nil)
	dir := filepath.Join(h.root, "repo")
	require.NoError(t, os.Mkdir(dir, 0o700))
	c := h.connect(t, forge.ConnectionParams{Provider: forge.Plain, Host: forge.FileHost})
	_, err := h.Add(t.Context(), operator, c.ID, "repo", dir)
	require.NoError(t, err)
	made := h.allow(t, "org-a", repo(c.ID, "repo"))
	use := h.session(t, "org-a", "s1", "repo")
	spec := func() wire.Repository {
		t.Helper()
		list, err := h.Spec(t.Context(), "org-a", "s1", []string{use.Name})
		require.NoError(t, err)
		return list[0]
	}
	require.Contains(t, spec().URL, "file://")
	_, err = h.DeletePermission(t.Context(), operator, "org-a", made[0].ID)
	require.NoError(t, err)
	require.Equal(t, wire.Repository{Name: "repo", Dir: ".", Refused: "the organization may not use the repository repo any more"}, spec())
}

func TestAKeyGoesToSSHAndAPasswordToHTTPS(t *testing.T) {
	t.Parallel()
	h := newHouse(t, db.SQLite, nil)
	key, known := privateKey(t)
	c := h.connect(t, forge.ConnectionParams{Provider: forge.Plain, Host: "git.example.com", Token: secret.New(key), KnownHosts: known})
	for name, u := range map[string]string{"over/ssh": "git@git.example.com:over/ssh.git", "over/https": "https://git.example.com/over/https"} {
		_, err := h.Add(t.Context(), operator, c.ID, name, u)
		require.NoError(t, err)
	}
	h.allow(t, "org-a", group(c.ID, "over"))
	reply, err := h.Credential(t.Context(), h.session(t, "org-a", "s1", "over/ssh"), "push")
	require.NoError(t, err)
	require.Equal(t, strings.TrimSpace(key), strings.TrimSpace(reply.PrivateKey))
	require.Equal(t, strings.TrimSpace(known), reply.KnownHosts)
	reply, err = h.Credential(t.Context(), h.session(t, "org-a", "s2", "over/https"), "push")
	require.NoError(t, err)
	require.Empty(t, *reply)
}

func TestAnOrganizationSeesWhatItMayUse(t *testing.T) {
	t.Parallel()
	each(t, shops, func(t *testing.T, h *house) {
		ctx, c := t.Context(), h.github(t)
		for _, n := range []string{"tools", "docs"} {
			_, err := h.Add(ctx, operator, forge.Listed, n, "https://git.example.com/"+n)
			require.NoError(t, err)
		}
		member := access.As("member", access.ViewOrgRepositories)
		list := func(orgID string, p forge.UsableParams) (out []string) {
			t.Helper()
			p.OrgID, p.Page.First = orgID, 2
			for {
				got, err := h.Usable(ctx, member, p)
				require.NoError(t, err)
				require.LessOrEqual(t, len(got.Items), 2)
				for _, r := range got.Items {
					out = append(out, r.Host+" "+r.Path)
				}
				if !got.More {
					return out
				}
				p.Page.After = got.End
			}
		}
		all := []string{"git.example.com docs", "git.example.com tools"}
		require.Equal(t, all, list("org-a", forge.UsableParams{}))
		h.allow(t, "org-a", group(c.ID, "acme"), prefix(c.ID, "team/s"), repo(c.ID, "nobody/knows"))
		more := append(all, "github.example.com Acme/Shop", "github.example.com acme/site", "github.example.com team/shop")
		require.Equal(t, more, list("org-a", forge.UsableParams{}))
		require.Equal(t, all, list("org-b", forge.UsableParams{}))
		require.Equal(t, []string{more[2], more[4]}, list("org-a", forge.UsableParams{Name: "SHOP"}))
		require.Equal(t, []string{more[1], more[2]}, list("org-a", forge.UsableParams{Only: []string{"acme/shop", "tools", "acme-evil/x"}}))
		require.Equal(t, []string{more[0], more[3]}, list("org-a", forge.UsableParams{Exclude: []string{"acme/shop", "tools", "team/shop"}}))
	})
}
