package access

import "slices"

// Role is a named set of permissions of one scope.
type Role struct {
	ID          string
	Name        string
	Scope       Scope
	Permissions Set
	Builtin     bool
}

// Built-in role ids (contract/behaviour.md §2.4.2).
const (
	RoleEnterpriseAdmin  = "account_admin"
	RoleEnterpriseMember = "account_member"
	RoleOrgAdmin         = "org_admin"
	RoleOrgMember        = "org_member"
	RoleDeepWikiOnly     = "org_deepwiki_only"
)

// admin is all there is.
var admin = scoped(Enterprise) | scoped(Org)

// Builtin gives the built-in roles (contract/behaviour.md §2.4.3). They are written to the database when it is made and brought
// up to date at each start.
func Builtin() []Role {
	return slices.Clone([]Role{
		{ID: RoleEnterpriseAdmin, Name: "Admin", Scope: Enterprise, Permissions: admin, Builtin: true},
		{ID: RoleEnterpriseMember, Name: "Member", Scope: Enterprise, Permissions: SetOf(ReadAccountMeta), Builtin: true},
		{ID: RoleOrgAdmin, Name: "Organization Admin", Scope: Org, Permissions: scoped(Org), Builtin: true},
		{ID: RoleOrgMember, Name: "Organization Member", Scope: Org, Permissions: SetOf(
			UseDevinSessions, ViewOrgSessions, ManageOrgSessions, UseDevinExpert, ManageOrgKnowledge, ManageOrgPlaybooks,
			ManageOrgSchedules, ViewOrgMembership, ViewOrgRepositories, IndexOrgRepositories, ViewOrgAutomations,
			UsePersonalAutomations, UseReviewManual, UseCodeScans, ViewCodeScans), Builtin: true},
		{ID: RoleDeepWikiOnly, Name: "DeepWiki Only", Scope: Org, Permissions: SetOf(ViewOrgRepositories, IndexOrgRepositories), Builtin: true},
	})
}

// SetNamed makes a set of named permissions with all that they imply; unknown names, which a newer release may have stored, are
// left out.
func SetNamed(names []string) Set {
	var s Set
	for _, n := range names {
		if p, ok := Named(n); ok {
			s = s.with(p)
		}
	}
	return s
}
