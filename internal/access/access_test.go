package access_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gantry/internal/access"
	"gantry/internal/platform/fault"
)

// implied is contract/behaviour.md §2.3 and the catalogue's other implications, written down a second time by hand: the oracle must
// not read what it judges.
var implied = map[string][]string{
	"ManageOrganizations":        {"ManageOrgSettings"},
	"ManageAccountMembership":    {"ViewAccountMembership", "ManageOrgMembership", "ViewOrgMembership"},
	"ViewAccountMembership":      {"ViewOrgMembership"},
	"ManageAccountServiceUsers":  {"ManageOrgServiceUsers"},
	"ManageAccountKnowledge":     {"ManageOrgKnowledge"},
	"ManageAccountPlaybooks":     {"ManageOrgPlaybooks"},
	"ManageGitIntegrations":      {"ViewGitIntegrations"},
	"ManageBilling":              {"ViewAccountConsumption", "ViewOrgConsumption"},
	"ViewAccountConsumption":     {"ViewOrgConsumption"},
	"ViewAccountMetrics":         {"ViewOrgMetrics"},
	"ViewAccountSessions":        {"ViewOrgSessions"},
	"ManageAccountSessions":      {"ManageOrgSessions", "ViewOrgSessions", "UseDevinSessions"},
	"ManageOutpostsOrchestrator": {"UseOutpostsMachine"},
	"UseAccountCodeScans":        {"UseCodeScans", "ViewCodeScans"},
	"ManageOrgMembership":        {"ViewOrgMembership"},
	"ManageOrgAutomations":       {"ViewOrgAutomations"},
	"UseCodeScans":               {"ViewCodeScans"},
}

// enterpriseNames are the permissions of enterprise scope, by hand as well.
var enterpriseNames = []string{
	"ReadAccountMeta", "ManageEnterpriseSettings", "ManageIPWhitelist", "ManageOrganizations", "ManageAccountMembership",
	"ViewAccountMembership", "ManageAccountServiceUsers", "ManageAccountKnowledge", "ManageAccountPlaybooks", "ManageGitIntegrations",
	"ViewGitIntegrations", "ManageBilling", "ViewAccountConsumption", "ViewAccountMetrics", "ViewEnterpriseInfraDetails",
	"ViewAccountSessions", "ManageAccountSessions", "UseOutpostsMachine", "ManageOutpostsOrchestrator", "UseAccountCodeScans",
}

func isEnterprise(name string) bool { return slices.Contains(enterpriseNames, name) }

// given is a grant as names, and model a subject as its grants: the naive form that the oracle reads.
type given struct {
	org   string
	names []string
}

type model struct {
	org    string // the credential's own organization
	grants []given
}

func reaches(from, to string) bool {
	return from == to || slices.ContainsFunc(implied[from], func(next string) bool { return reaches(next, to) })
}

// holds says whether the model holds a permission in org ("" for the enterprise); everywhere means in every organization at once.
func (m model) holds(name, org string, everywhere bool) bool {
	for _, g := range m.grants {
		if !slices.ContainsFunc(g.names, func(n string) bool { return reaches(n, name) }) {
			continue
		}
		switch {
		case isEnterprise(name):
			if g.org == "" && m.org == "" {
				return true
			}
		case everywhere:
			if g.org == "" && m.org == "" {
				return true
			}
		case (g.org == "" || g.org == org) && (m.org == "" || m.org == org):
			return true
		}
	}
	return name == "ReadAccountMeta"
}

func (m model) can(name, org string) bool {
	if isEnterprise(name) {
		return m.holds(name, "", false)
	}
	return org != "" && m.holds(name, org, false)
}

func (m model) subject() access.Subject {
	var grants []access.Grant
	for _, g := range m.grants {
		grants = append(grants, access.Grant{OrgID: g.org, Permissions: access.SetNamed(g.names)})
	}
	return access.Subject{Kind: access.ServiceUser, OrgID: m.org}.WithGrants(grants...)
}

var orgIDs = []string{"", "org-a", "org-b", "org-c"}

func names() (out []string) {
	for _, e := range access.Catalogue() {
		out = append(out, e.Name)
	}
	return out
}

func drawModel(t *rapid.T) model {
	m := model{org: rapid.SampledFrom(orgIDs[:3]).Draw(t, "credential's organization")}
	for range rapid.IntRange(0, 4).Draw(t, "grants") {
		m.grants = append(m.grants, given{
			org:   rapid.SampledFrom(orgIDs[:3]).Draw(t, "grant's organization"),
			names: rapid.SliceOfN(rapid.SampledFrom(append(names(), "FromALaterRelease")), 0, 5).Draw(t, "permissions"),
		})
	}
	return m
}

func TestASubjectHoldsExactlyWhatTheOracleSays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		s := m.subject()
		for _, e := range access.Catalogue() {
			for _, org := range orgIDs {
				want := m.can(e.Name, org)
				require.Equal(t, want, s.Can(e.Permission, org), "%s in %q", e.Name, org)
				err := access.Require(s, e.Permission, org)
				require.Equal(t, want, err == nil)
				if !want {
					require.True(t, fault.Is(err, fault.Forbidden))
					require.Contains(t, err.Error(), e.Name)
					if org != "" {
						require.NotContains(t, err.Error(), org, "the refusal tells nothing about the organization")
					}
				}
			}
		}
	})
}

func TestARefusalNamesThePermissionAndWhereItCounts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		p         access.Permission
		org, want string
	}{
		{access.ViewOrgSessions, "org-a", "ViewOrgSessions in this organization"},
		{access.ViewAccountSessions, "", "ViewAccountSessions in the enterprise"},
		{access.ManageEnterpriseSettings, "org-a", "ManageEnterpriseSettings in the enterprise"}, // /v3/enterprise/organizations/{org_id}/audit-logs
	} {
		require.ErrorContains(t, access.Require(access.As("nobody"), c.p, c.org), c.want)
	}
}

func TestRequireAnyIsTheUnion(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		s := m.subject()
		org := rapid.SampledFrom(orgIDs).Draw(t, "org")
		var ps []access.Permission
		want := false
		for _, n := range rapid.SliceOfN(rapid.SampledFrom(names()), 1, 4).Draw(t, "any of") {
			p, ok := access.Named(n)
			require.True(t, ok)
			ps = append(ps, p)
			want = want || m.can(n, org)
		}
		require.Equal(t, want, access.RequireAny(s, org, ps...) == nil)
	})
}

func TestNobodyGivesMoreThanTheyHold(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		s := m.subject()
		org := rapid.SampledFrom(orgIDs).Draw(t, "org")
		role := rapid.SliceOfN(rapid.SampledFrom(names()), 0, 4).Draw(t, "role")
		want := true
		for _, n := range names() {
			if !slices.ContainsFunc(role, func(r string) bool { return reaches(r, n) }) {
				continue
			}
			if org == "" {
				want = want && m.holds(n, "", true)
			} else {
				want = want && !isEnterprise(n) && m.holds(n, org, false)
			}
		}
		require.Equal(t, want, access.RequireGive(s, access.SetNamed(role), org) == nil)
		if want {
			// What was given makes nobody stronger than the giver.
			taker := access.Subject{Kind: access.ServiceUser, OrgID: m.org}.WithGrants(access.Grant{OrgID: org, Permissions: access.SetNamed(role)})
			for _, e := range access.Catalogue() {
				for _, o := range orgIDs {
					require.False(t, taker.Can(e.Permission, o) && !s.Can(e.Permission, o), "%s in %q", e.Name, o)
				}
			}
		}
	})
}

func TestAnotherGrantTakesNothingAway(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		less := m
		if n := len(m.grants); n > 0 {
			less.grants = m.grants[:n-1]
		}
		more, fewer := m.subject(), less.subject()
		for _, org := range orgIDs {
			require.True(t, more.In(org).Covers(fewer.In(org)))
		}
	})
}

func TestTheCatalogueIsWhole(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, e := range access.Catalogue() {
		require.NotEmpty(t, e.Name)
		require.NotEmpty(t, e.Meaning, e.Name)
		require.False(t, seen[e.Name], e.Name)
		seen[e.Name] = true
		require.Equal(t, isEnterprise(e.Name), e.Scope == access.Enterprise, e.Name)
		p, ok := access.Named(e.Name)
		require.True(t, ok)
		require.Equal(t, e.Permission, p)
		require.Equal(t, e.Name, p.String())
		var want []string
		for _, n := range names() {
			if reaches(e.Name, n) {
				want = append(want, n)
			}
		}
		require.Equal(t, want, access.SetOf(p).Names())
	}
	_, ok := access.Named("None")
	require.False(t, ok)
	require.False(t, access.SetOf(access.Catalogue()[0].Permission).Has(access.None))
}

func TestBuiltinRolesHoldWhatTheContractSays(t *testing.T) {
	t.Parallel()
	roles := map[string]access.Role{}
	for _, r := range access.Builtin() {
		roles[r.ID] = r
		for _, p := range r.Permissions.List() {
			require.False(t, r.Scope == access.Org && p.Scope() == access.Enterprise, "%s can't hold %s", r.ID, p)
		}
	}
	admin := access.Subject{Kind: access.ServiceUser}.WithGrants(access.Grant{Permissions: roles[access.RoleEnterpriseAdmin].Permissions})
	orgAdmin := access.Subject{Kind: access.ServiceUser, OrgID: "org-a"}.WithGrants(access.Grant{OrgID: "org-a", Permissions: roles[access.RoleOrgAdmin].Permissions})
	for _, e := range access.Catalogue() {
		require.True(t, admin.Can(e.Permission, "org-a"), e.Name)
		require.Equal(t, e.Scope == access.Org || e.Permission == access.ReadAccountMeta, orgAdmin.Can(e.Permission, "org-a"), e.Name)
		require.False(t, e.Scope == access.Org && orgAdmin.Can(e.Permission, "org-b"), e.Name)
	}
	require.Equal(t, []string{"ReadAccountMeta"}, roles[access.RoleEnterpriseMember].Permissions.Names())
	member := roles[access.RoleOrgMember].Permissions
	require.True(t, roles[access.RoleOrgAdmin].Permissions.Covers(member))
	require.False(t, member.Has(access.ManageOrgSecrets) || member.Has(access.ImpersonateOrgSessions) || member.Has(access.ManageOrgMembership))
}

func TestACheckAllocatesNothing(t *testing.T) { //nolint:paralleltest // AllocsPerRun counts the whole process
	s := access.Subject{Kind: access.ServiceUser}.WithGrants(
		access.Grant{Permissions: access.SetOf(access.ManageAccountSessions)},
		access.Grant{OrgID: "org-a", Permissions: access.SetOf(access.ManageOrgSecrets)},
	)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if access.Require(s, access.ViewOrgSessions, "org-b") != nil || access.Require(s, access.ManageOrgSecrets, "org-a") != nil ||
			access.Require(s, access.ManageAccountSessions, "") != nil ||
			access.RequireAny(s, "org-a", access.ManageOrgSettings, access.UseDevinSessions) != nil {
			panic("refused")
		}
	}))
}

func TestASystemSubjectHoldsWhatItsJobNames(t *testing.T) {
	t.Parallel()
	s := access.As("retention", access.ManageOrganizations)
	require.Equal(t, access.System, s.Kind)
	require.Equal(t, []string{"ReadAccountMeta", "ManageOrganizations", "ManageOrgSettings"}, s.In("").Names())
	require.True(t, s.Can(access.ManageOrgSettings, "org-a"))
	require.False(t, s.Can(access.ManageOrgSecrets, "org-a"))
	require.False(t, access.Subject{}.Can(access.ReadAccountMeta, ""), "nobody holds nothing")
}
