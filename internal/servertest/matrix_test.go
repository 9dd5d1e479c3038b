package servertest_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/fleet"
	"gantry/internal/platform/config"
	"gantry/internal/platform/id"
	"gantry/internal/servertest"
	"gantry/internal/session"
)

// credential is one column of the matrix: a token, and what it stands for in words of the contract rather than of the code.
type credential struct {
	name, token string
	kind        credentialKind
	// org is the organization that the credential is bound to, empty for one of enterprise scope.
	org string
	// enterprise are the permissions held for the enterprise and with them in every organization, in those held in one.
	enterprise access.Set
	in         map[string]access.Set
	person     bool
}

type credentialKind int

const (
	refused credentialKind = iota // none, unknown, revoked, expired
	principal
	workerKey
	connectToken
)

// holds reports whether the credential holds a permission where an operation asks for it.
func (c credential) holds(name, org string) bool {
	p, ok := access.Named(name)
	if !ok {
		return false
	}
	if p.Scope() == access.Enterprise {
		return c.org == "" && c.enterprise.Has(p)
	}
	if org == "" || (c.org != "" && c.org != org) {
		return false
	}
	return c.enterprise.Has(p) || c.in[org].Has(p)
}

// verdict of a cell: 401, 403, or anything else.
const elsewhere = 0

// expected is the contract's rule for a cell, read off the document alone (contract/behaviour.md §1.1.7, §2.1, §2.3): an operation
// that names an organization outside /enterprise/ is on that organization, any other is on the enterprise.
func expected(o *servertest.Operation, c credential, org string) int {
	takes, names := list[string](o.Spec["x-credential"]), list[string](o.Spec["x-permission"])
	if o.Spec["security"] == nil {
		return elsewhere
	}
	if slices.Equal(takes, []string{"connect"}) {
		if c.kind == connectToken {
			return elsewhere
		}
		return http.StatusUnauthorized // its door knows no other kind
	}
	switch c.kind {
	case refused, connectToken:
		return http.StatusUnauthorized
	case workerKey:
		if slices.Contains(takes, "worker") {
			return elsewhere
		}
		return http.StatusForbidden
	default:
	}
	if slices.Equal(names, []string{access.ReadAccountMeta.String()}) {
		if c.person && strings.HasPrefix(o.Path, "/v3beta1/") {
			return http.StatusForbidden // the first beta could describe service users only
		}
		return elsewhere
	}
	if o.Spec["x-role"] == access.RoleEnterpriseAdmin { // contract/legacy.md §4
		if c.org == "" && c.enterprise.Covers(access.Builtin()[0].Permissions) {
			return elsewhere
		}
		return http.StatusForbidden
	}
	if o.Spec["x-organization"] == "credential" {
		return inOwn(c, names)
	}
	inOrg := strings.Contains(o.Path, "{org_id}") && !strings.Contains(o.Path, "/enterprise/")
	if !inOrg && c.org != "" {
		return http.StatusForbidden
	}
	where := ""
	if inOrg {
		where = org
	}
	for _, n := range names {
		if c.holds(n, where) {
			return elsewhere
		}
	}
	return http.StatusForbidden
}

// inOwn is the rule of v1: the operation is on the organization that the credential belongs to, for a person the only one in which
// they hold a role. Who belongs to none is refused (contract/legacy.md §4).
func inOwn(c credential, names []string) int {
	own := c.org
	if c.person && len(c.in) == 1 {
		for org := range c.in {
			own = org
		}
	}
	for _, n := range names {
		if own != "" && c.holds(n, own) {
			return elsewhere
		}
	}
	return http.StatusForbidden
}

// matrix is a server with a credential of every sort.
type matrix struct {
	*servertest.Server
	org, other  string
	credentials []credential
	// sessionID is the session that the connect token is good for.
	sessionID string
}

func newMatrix(t *testing.T, earlyOff bool) *matrix {
	t.Helper()
	m := &matrix{Server: servertest.New(t, servertest.Options{
		EarlyCheckOff: earlyOff,
		Configure:     func(c *config.Serve) { c.UnknownKeyLimit = 1 << 20 },
	})}
	m.org, m.other = m.Org, m.NewOrg(t, "other")
	m.credentials = []credential{
		{name: "no key"},
		{name: "unknown key", token: id.NewKey(id.KeyService)},
		{name: "malformed key", token: "cog_x"},
		{name: "revoked key", token: m.Revoked(t, "", access.RoleEnterpriseAdmin)},
		{name: "expired key", token: m.Expired(t, "", access.RoleEnterpriseAdmin)},
		{name: "worker key", kind: workerKey, token: m.WorkerKey(t)},
		{name: "connect token", kind: connectToken, token: m.connectToken(t)},
	}
	for _, e := range access.Catalogue() {
		m.single(t, e.Permission)
	}
	for _, r := range access.Builtin() {
		m.builtin(t, r)
	}
	return m
}

func (m *matrix) add(c credential) {
	c.kind = principal
	m.credentials = append(m.credentials, c)
}

// single adds a service user for each way in which one permission alone can be held.
func (m *matrix) single(t *testing.T, p access.Permission) {
	t.Helper()
	set := access.SetOf(p)
	enterprise := m.NewRole(t, access.Enterprise, p)
	m.add(credential{name: p.String() + " in the enterprise", token: m.NewKey(t, "", enterprise).Token, enterprise: set})
	if p.Scope() == access.Enterprise {
		return
	}
	role := m.NewRole(t, access.Org, p)
	m.add(credential{name: p.String() + " in the organization", token: m.NewKey(t, m.org, role).Token, org: m.org, in: map[string]access.Set{m.org: set}})
	m.add(credential{name: p.String() + " in another organization", token: m.NewKey(t, m.other, role).Token, org: m.other, in: map[string]access.Set{m.other: set}})
}

// builtin adds a service user with a built-in role in each place where it can be held, and a person.
func (m *matrix) builtin(t *testing.T, r access.Role) {
	t.Helper()
	if r.Scope == access.Enterprise {
		_, token := m.NewPerson(t, r.ID+"@example.com", "", r.ID)
		m.add(credential{name: r.ID, token: m.NewKey(t, "", r.ID).Token, enterprise: r.Permissions})
		m.add(credential{name: r.ID + " (person)", token: token, enterprise: r.Permissions, person: true})
		return
	}
	here := map[string]access.Set{m.org: r.Permissions}
	_, token := m.NewPerson(t, r.ID+"@example.com", m.org, r.ID)
	m.add(credential{name: r.ID, token: m.NewKey(t, m.org, r.ID).Token, org: m.org, in: here})
	m.add(credential{name: r.ID + " of another organization", token: m.NewKey(t, m.other, r.ID).Token, org: m.other, in: map[string]access.Set{m.other: r.Permissions}})
	m.add(credential{name: r.ID + " (person)", token: token, in: here, person: true})
	k := m.NewKey(t, "", access.RoleEnterpriseMember)
	m.Give(t, k, m.org, r.ID)
	m.add(credential{name: r.ID + " of enterprise scope", token: k.Token, in: here})
}

// connectToken claims a session and gives the claim's token.
func (m *matrix) connectToken(t *testing.T) string {
	t.Helper()
	made, err := m.Sessions.Create(t.Context(), m.Root(), session.CreateParams{OrgID: m.org, Prompt: "wait"})
	require.NoError(t, err)
	m.sessionID = made.ID
	who := access.Subject{Kind: access.Worker, ID: "w", Outposts: []string{fleet.DefaultOutpost}}
	claim, ok, err := m.Sessions.ClaimNext(t.Context(), who, fleet.DefaultOutpost, "w")
	require.NoError(t, err)
	require.True(t, ok)
	return claim.Token
}

// cell makes one request and gives what it says about authorization.
func (m *matrix) cell(t *testing.T, o *servertest.Operation, c credential) (int, string) {
	t.Helper()
	call := valid(t, o, spare(t, m.Server, o, m.org))
	if _, ok := call.path["session_id"]; ok && c.kind == connectToken {
		call.path["session_id"] = m.sessionID
	}
	a := m.Send(t, call.request(t, c.token))
	require.Less(t, a.Status, 500, a.Body)
	if a.Status == http.StatusUnauthorized || a.Status == http.StatusForbidden {
		return a.Status, a.Body
	}
	return elsewhere, a.Body
}

// wrong lists the cells that differ from the rule.
func (m *matrix) wrong(t *testing.T, skip func(*servertest.Operation, credential) bool) (wrong []string, cells int) {
	t.Helper()
	for _, o := range m.Checker().Operations {
		for _, c := range m.credentials {
			if skip(o, c) {
				continue
			}
			cells++
			want := expected(o, c, m.org)
			if got, body := m.cell(t, o, c); got != want {
				wrong = append(wrong, strings.TrimSpace(strings.Join([]string{o.Method, o.Path, "as", c.name, "wants", verdict(want), "gets", verdict(got), body}, " ")))
			}
		}
	}
	return wrong, cells
}

func verdict(status int) string {
	if status == elsewhere {
		return "in"
	}
	return http.StatusText(status)
}

func TestEveryOperationTakesExactlyThePrincipalsThatItsDocumentNames(t *testing.T) {
	t.Parallel()
	m := newMatrix(t, false)
	wrong, cells := m.wrong(t, func(*servertest.Operation, credential) bool { return false })
	require.Greater(t, cells, 5000)
	require.Empty(t, strings.Join(wrong, "\n"))
}

func TestEveryUseCaseRefusesWithoutTheEarlyCheck(t *testing.T) {
	t.Parallel()
	m := newMatrix(t, true)
	wrong, _ := m.wrong(t, func(o *servertest.Operation, c credential) bool {
		// Whoever is known may ask who they are: no use case stands behind it.
		self := slices.Equal(list[string](o.Spec["x-permission"]), []string{access.ReadAccountMeta.String()})
		return self && c.kind == workerKey
	})
	require.Empty(t, strings.Join(wrong, "\n"))
}

// keepsWhatWas says whether the enterprise still asks there about a deleted organization: its audit entries and its usage stay.
func keepsWhatWas(path string) bool {
	return strings.HasPrefix(path, "/v3/enterprise/") &&
		(strings.HasSuffix(path, "/audit-logs") || strings.HasSuffix(path, "/consumption/daily/organizations/{org_id}"))
}

func TestAnOrganizationThatIsNotThere(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, servertest.Options{})
	orgKey, admin := s.NewKey(t, s.Org, access.RoleOrgAdmin).Token, s.Admin.Token.Reveal()
	deleted := s.NewOrg(t, "deleted")
	_, err := s.Orgs.Delete(t.Context(), s.Root(), deleted)
	require.NoError(t, err)
	n := 0
	for _, o := range s.Checker().Operations {
		if !strings.Contains(o.Path, "{org_id}") || o.Spec["security"] == nil {
			continue
		}
		n++
		for _, org := range []string{"org-unknown", deleted, "~x", "org-ünknown"} {
			a := s.Send(t, valid(t, o, org).request(t, orgKey))
			require.Equal(t, http.StatusForbidden, a.Status, "%s %s with an organization's key: %s", o.Method, o.Path, a.Body)
			want := http.StatusNotFound
			if strings.HasSuffix(o.Path, "/audit-logs") {
				want = http.StatusForbidden // contract/behaviour.md §19.1
			}
			if org == deleted && keepsWhatWas(o.Path) {
				want = http.StatusOK
			}
			a = s.Send(t, valid(t, o, org).request(t, admin))
			require.Equal(t, want, a.Status, "%s %s with an enterprise's key on %s: %s", o.Method, o.Path, org, a.Body)
		}
	}
	require.Greater(t, n, 15)
}
