package forge_test

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"gantry/internal/access"
	"gantry/internal/forge"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
	"gantry/internal/platform/secret"
)

// session binds a session to repositories that its organization names, as its creation does, and gives the first.
func (h *house) session(t *testing.T, orgID, sessionID string, names ...string) forge.Use {
	t.Helper()
	repos, err := h.Resolve(t.Context(), orgID, names)
	require.NoError(t, err)
	require.NoError(t, h.db.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		return h.BindTx(ctx, tx, sessionID, repos)
	}))
	return forge.Use{OrgID: orgID, SessionID: sessionID, Name: repos[0].Name}
}

func privateKey(t *testing.T) (key, known string) {
	t.Helper()
	pub, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	block, err := ssh.MarshalPrivateKey(private, "")
	require.NoError(t, err)
	host, err := ssh.NewPublicKey(pub)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(block)), "git.example.com " + string(ssh.MarshalAuthorizedKey(host))
}

func TestAConnectionIsCheckedBeforeItIsKept(t *testing.T) {
	t.Parallel()
	h := newHouse(t, db.SQLite, nil)
	key, known := privateKey(t)
	plain := forge.ConnectionParams{Name: "n", Provider: forge.Plain, Host: "git.example.com"}
	for name, c := range map[string]struct {
		field  string
		change func(p *forge.ConnectionParams)
	}{
		"no name":             {"name", func(p *forge.ConnectionParams) { p.Name = "" }},
		"a name of two lines": {"name", func(p *forge.ConnectionParams) { p.Name = "a\nb" }},
		"an unknown provider": {"git_provider_type", func(p *forge.ConnectionParams) { p.Provider = "sourceforge" }},
		"an app":              {"git_provider_type", func(p *forge.ConnectionParams) { p.Provider = forge.GitHubApp }},
		"no host":             {"host", func(p *forge.ConnectionParams) { p.Host = "" }},
		"a host with a path":  {"host", func(p *forge.ConnectionParams) { p.Host = "a/b" }},
		"a host with a user":  {"host", func(p *forge.ConnectionParams) { p.Host = "u@a" }},
		"an option as a host": {"host", func(p *forge.ConnectionParams) { p.Host = "-oProxyCommand=x" }},
		"a host's bad port":   {"host", func(p *forge.ConnectionParams) { p.Host = "a:b" }},
		"a port of plain git": {"host", func(p *forge.ConnectionParams) { *p = plain; p.Host = "a:22" }},
		"an http address":     {"url", func(p *forge.ConnectionParams) { p.URL = "http://gitlab.example.com" }},
		"another host":        {"url", func(p *forge.ConnectionParams) { p.URL = "https://evil.example.com" }},
		"a password":          {"url", func(p *forge.ConnectionParams) { p.URL = "https://u:p@gitlab.example.com" }},
		"a query":             {"url", func(p *forge.ConnectionParams) { p.URL = "https://gitlab.example.com/?x" }},
		"no organization":     {"url", func(p *forge.ConnectionParams) { p.Provider, p.Host = forge.AzureDevOps, "dev.azure.com" }},
		"plain git's address": {"url", func(p *forge.ConnectionParams) { *p = plain; p.URL = "https://git.example.com" }},
		"a token of words":    {"token", func(p *forge.ConnectionParams) { p.Token = secret.New("a b") }},
		"a token of lines":    {"token", func(p *forge.ConnectionParams) { p.Token = secret.New("a\nAuthorization: x") }},
		"a key for an API":    {"token", func(p *forge.ConnectionParams) { p.Token = secret.New(key) }},
		"a broken key": {"token", func(p *forge.ConnectionParams) {
			*p = plain
			p.Token = secret.New("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----")
		}},
		"a key without its host": {"known_hosts", func(p *forge.ConnectionParams) { *p = plain; p.Token = secret.New(key) }},
		"a user with a colon":    {"username", func(p *forge.ConnectionParams) { p.Username = "a:b" }},
	} {
		p := forge.ConnectionParams{Name: "n", Provider: forge.GitLabToken, Host: "gitlab.example.com", Token: secret.New("t")}
		c.change(&p)
		_, err := h.CreateConnection(t.Context(), operator, p)
		require.True(t, fault.Is(err, fault.Invalid), "%s: %v", name, err)
		require.Equal(t, []string{"body", c.field}, fault.As(err).Fields[0].Loc, name)
	}
	_, err := h.CreateConnection(t.Context(), operator, forge.ConnectionParams{Name: "n", Provider: "sourceforge", Host: "h"})
	require.ErrorContains(t, err, string(forge.GitLabToken), "those that there are")
	require.NotContains(t, err.Error(), string(forge.GitHubApp))
	name := strings.Repeat("ü", 256) // characters, not bytes
	named := h.connect(t, forge.ConnectionParams{Name: " " + name + " ", Provider: forge.GitLabToken, Host: "gitlab.example.com", Token: secret.New("t")})
	require.Equal(t, name, named.Name, "as a change would keep it")
	plain.Token, plain.KnownHosts = secret.New(key), known
	got, err := h.CreateConnection(t.Context(), operator, plain)
	require.NoError(t, err)
	require.True(t, got.HasToken)
	p := forge.ConnectionParams{Name: "n", Provider: forge.GiteaToken, Host: "Code.Example.com:3000"}
	got, err = h.CreateConnection(t.Context(), operator, p)
	require.NoError(t, err)
	require.Equal(t, "https://code.example.com:3000", got.URL)
	require.False(t, got.HasToken)
}

func TestAConnectionsLifeIsAuditedAndItsTokenIsSealed(t *testing.T) {
	t.Parallel()
	each(t, nil, func(t *testing.T, h *house) {
		ctx := t.Context()
		p, err := h.Connections(ctx, reader, page.Request{First: 10})
		require.NoError(t, err)
		require.Empty(t, p.Items, "the built-in connection shows once something is in it")
		_, err = h.Add(ctx, operator, forge.Listed, "tools", "https://git.example.com/tools")
		require.NoError(t, err)
		c := h.connect(t, forge.ConnectionParams{Name: "one", Provider: forge.GitLabToken, Host: "gitlab.com", Token: secret.New("glpat-hunter2")})
		other := h.connect(t, forge.ConnectionParams{Name: "two", Provider: forge.GiteaToken, Host: "code.example.com"})
		p, err = h.Connections(ctx, reader, page.Request{First: 2})
		require.NoError(t, err)
		require.True(t, p.More)
		require.True(t, p.Items[0].BuiltIn)
		require.Equal(t, c.ID, p.Items[1].ID)
		p, err = h.Connections(ctx, reader, page.Request{First: 2, After: p.End})
		require.NoError(t, err)
		require.Equal(t, "two", p.Items[0].Name)

		sealed, err := db.One(ctx, h.db.Reader(), forge.Sealed, `SELECT sealed_token FROM git_connections WHERE git_connection_id = $1`, c.ID)
		require.NoError(t, err)
		require.NotContains(t, string(sealed), "hunter2")
		require.NotContains(t, fmt.Sprintf("%+v", c), "hunter2")

		renamed, none := "uno", secret.String{}
		got, err := h.UpdateConnection(ctx, operator, forge.ConnectionUpdate{ID: c.ID, Name: &renamed})
		require.NoError(t, err)
		require.Equal(t, "uno", got.Name)
		require.True(t, got.HasToken, "absent keeps")
		fresh := secret.New("glpat-new")
		_, err = h.UpdateConnection(ctx, operator, forge.ConnectionUpdate{ID: c.ID, Token: &fresh})
		require.NoError(t, err)
		got, err = h.UpdateConnection(ctx, operator, forge.ConnectionUpdate{ID: c.ID, Token: &none})
		require.NoError(t, err)
		require.False(t, got.HasToken)
		bad := ""
		_, err = h.UpdateConnection(ctx, operator, forge.ConnectionUpdate{ID: c.ID, Name: &bad})
		require.True(t, fault.Is(err, fault.Invalid), "%v", err)

		path := "acme/shop"
		h.allow(t, "org-a", forge.PermissionParams{ConnectionID: c.ID, RepoPath: &path})
		_, err = h.DeleteConnection(ctx, operator, c.ID)
		require.NoError(t, err)
		perms, err := h.Permissions(ctx, operator, "org-a", page.Request{First: 10})
		require.NoError(t, err)
		require.Empty(t, perms.Items)
		_, err = h.DeleteConnection(ctx, operator, other.ID)
		require.NoError(t, err)
		require.Equal(t, []string{
			"add_repository", "create_gitlab_integration", "create_git_connection", "update_gitlab_integration", "reconnect_gitlab_integration",
			"reconnect_gitlab_integration", "create_git_permission", "delete_gitlab_integration", "delete_git_connection",
		}, h.actions(t))

		for _, id := range []string{c.ID, "git-connection-none"} {
			_, err = h.Connection(ctx, reader, id)
			require.True(t, fault.Is(err, fault.NotFound), "%v", err)
			_, err = h.UpdateConnection(ctx, operator, forge.ConnectionUpdate{ID: id, Name: &renamed})
			require.True(t, fault.Is(err, fault.NotFound), "%v", err)
			_, err = h.DeleteConnection(ctx, operator, id)
			require.True(t, fault.Is(err, fault.NotFound), "%v", err)
			_, err = h.RefreshConnection(ctx, operator, id)
			require.True(t, fault.Is(err, fault.NotFound), "%v", err)
		}
		_, err = h.UpdateConnection(ctx, operator, forge.ConnectionUpdate{ID: forge.Listed, Name: &renamed})
		require.True(t, fault.Is(err, fault.Conflict), "%v", err)
		_, err = h.DeleteConnection(ctx, operator, forge.Listed)
		require.True(t, fault.Is(err, fault.Conflict), "%v", err)
		_, err = h.RefreshConnection(ctx, operator, forge.Listed)
		require.True(t, fault.Is(err, fault.Conflict), "%v", err)
	})
}

func TestOnlyWhoManagesGitIntegrationsChangesConnections(t *testing.T) {
	t.Parallel()
	h := newHouse(t, db.SQLite, nil)
	c := h.connect(t, forge.ConnectionParams{Provider: forge.Plain, Host: "git.example.com"})
	for name, try := range map[string]func(s access.Subject) error{
		"create": func(s access.Subject) error {
			_, err := h.CreateConnection(t.Context(), s, forge.ConnectionParams{})
			return err
		},
		"update": func(s access.Subject) error {
			_, err := h.UpdateConnection(t.Context(), s, forge.ConnectionUpdate{ID: c.ID})
			return err
		},
		"delete":  func(s access.Subject) error { _, err := h.DeleteConnection(t.Context(), s, c.ID); return err },
		"refresh": func(s access.Subject) error { _, err := h.RefreshConnection(t.Context(), s, c.ID); return err },
		"grant":   func(s access.Subject) error { _, err := h.AddPermissions(t.Context(), s, "org-a", nil); return err },
		"replace": func(s access.Subject) error { _, err := h.ReplacePermissions(t.Context(), s, "org-a", nil); return err },
		"clear":   func(s access.Subject) error { _, err := h.ClearPermissions(t.Context(), s, "org-a"); return err },
		"patch": func(s access.Subject) error {
			_, err := h.UpdatePermission(t.Context(), s, "org-a", "x", nil)
			return err
		},
		"take": func(s access.Subject) error { _, err := h.DeletePermission(t.Context(), s, "org-a", "x"); return err },
	} {
		require.True(t, fault.Is(try(reader), fault.Forbidden), name)
		require.True(t, fault.Is(try(access.As("x", access.ViewOrgRepositories)), fault.Forbidden), name)
	}
	for name, try := range map[string]func(s access.Subject) error{
		"list": func(s access.Subject) error {
			_, err := h.Connections(t.Context(), s, page.Request{First: 1})
			return err
		},
		"read": func(s access.Subject) error { _, err := h.Connection(t.Context(), s, c.ID); return err },
		"permissions": func(s access.Subject) error {
			_, err := h.Permissions(t.Context(), s, "org-a", page.Request{First: 1})
			return err
		},
		"repositories": func(s access.Subject) error {
			_, err := h.ConnectionRepositories(t.Context(), s, forge.ListingParams{ConnectionID: c.ID, Page: page.Request{First: 1}})
			return err
		},
	} {
		require.NoError(t, try(reader), name)
		require.True(t, fault.Is(try(access.As("x")), fault.Forbidden), name)
	}
	_, err := h.Usable(t.Context(), reader, forge.UsableParams{OrgID: "org-a", Page: page.Request{First: 1}})
	require.True(t, fault.Is(err, fault.Forbidden), "%v", err)
}

func TestAPlainConnectionsRepositoriesAreOnItsHost(t *testing.T) {
	t.Parallel()
	h := newHouse(t, db.SQLite, func(w http.ResponseWriter, _ *http.Request) { write(w, []object{}) })
	c := h.connect(t, forge.ConnectionParams{Provider: forge.Plain, Host: "git.example.com", Token: secret.New("pw")})
	_, err := h.Add(t.Context(), operator, c.ID, "a/b", "https://evil.example.com/a/b")
	require.True(t, fault.Is(err, fault.Invalid), "the credential would go there: %v", err)
	for _, u := range []string{"https://git.example.com:8443/a/b", "git@git.example.com:a/c"} {
		_, err = h.Add(t.Context(), operator, c.ID, "r"+u[len(u)-1:], u)
		require.NoError(t, err)
	}
	_, err = h.Add(t.Context(), operator, h.github(t).ID, "a/b", "https://github.example.com/a/b")
	require.True(t, fault.Is(err, fault.Conflict), "%v", err)
	_, err = h.Add(t.Context(), operator, "none", "a/b", "https://git.example.com/a/b")
	require.True(t, fault.Is(err, fault.NotFound), "%v", err)
	require.True(t, fault.Is(h.Remove(t.Context(), operator, forge.Listed, "rb"), fault.NotFound), "the operator's list is another one")
	require.NoError(t, h.Remove(t.Context(), operator, c.ID, "rb"))
}
