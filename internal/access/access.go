// Package access says who may do what: the permission catalogue, roles, subjects, and the one call Require.
//
// It is pure: no SQL, no clock, no network. A check is a few bit operations and allocates nothing.
package access

import (
	"net/netip"
	"time"

	"gantry/internal/platform/fault"
)

// Kind says what acts.
type Kind uint8

// The kinds of subjects. System is Gantry itself in a named job; Worker a machine; SessionToken a running session's own token.
const (
	Nobody Kind = iota
	ServiceUser
	Person
	SessionToken
	Worker
	System
)

// Subject is who acts: an explicit argument of every use case, resolved once from a credential. It is shared and never changed.
type Subject struct {
	Kind    Kind
	ID      string
	Name    string
	Email   string // people only
	KeyID   string
	KeyName string
	// KeyForm says what sort of key it is, KeyOrg which organization an older key was made in.
	KeyForm KeyForm
	KeyOrg  string
	// OrgID is the organization that the credential is bound to, empty for one of enterprise scope.
	OrgID string
	// SessionID belongs to SessionToken, Outposts and WorkerOrgs to Worker (nil WorkerOrgs: every organization).
	SessionID  string
	Outposts   []string
	WorkerOrgs []string
	// IPRanges are those from which a worker's key is good; nil for anywhere.
	IPRanges []netip.Prefix
	// Expires is when the credential ends, zero when it doesn't.
	Expires time.Time
	// RequestID goes into audit entries and events.
	RequestID string

	enterprise Set
	everywhere Set
	orgs       map[string]Set
}

// KeyForm is a sort of API key.
type KeyForm string

// The forms (contract/legacy.md §4). The zero value is the present one, `cog_`.
const (
	KeyCurrent  KeyForm = ""
	KeyService  KeyForm = "service"  // `apk_`: an organization's
	KeyPersonal KeyForm = "personal" // `apk_user_`: a person's in one organization
)

// Bound gives the subject with its credential bound to one organization.
func (s Subject) Bound(orgID string) Subject {
	s.OrgID = orgID
	return s
}

// Grant is one role a subject holds: in one organization, or with OrgID "" for the enterprise.
type Grant struct {
	OrgID       string
	Permissions Set
}

// WithGrants gives the subject with the union of its grants (contract/behaviour.md §2.4.5: no precedence, no deny).
func (s Subject) WithGrants(grants ...Grant) Subject {
	s.enterprise = SetOf(ReadAccountMeta)
	s.everywhere, s.orgs = 0, map[string]Set{}
	for _, g := range grants {
		if g.OrgID == "" {
			s.enterprise |= g.Permissions & scoped(Enterprise)
			s.everywhere |= g.Permissions & scoped(Org)
			continue
		}
		s.orgs[g.OrgID] |= g.Permissions & scoped(Org)
	}
	return s
}

// As gives the system acting in a named job. It holds exactly the permissions named, in every organization.
func As(job string, ps ...Permission) Subject {
	set := SetOf(ps...)
	return Subject{Kind: System, ID: "system", Name: job}.WithGrants(Grant{Permissions: set})
}

// EnterpriseScope reports whether the credential may be used on enterprise routes at all.
func (s Subject) EnterpriseScope() bool { return s.OrgID == "" && s.Kind != Nobody }

// Can reports whether the subject holds p; org is the organization it is asked for, empty for an enterprise permission.
func (s Subject) Can(p Permission, org string) bool {
	if p == None || p >= permissionCount {
		return false
	}
	if catalogue[p].Scope == Enterprise {
		return s.enterprise.Has(p) && (s.OrgID == "" || p == ReadAccountMeta)
	}
	if org == "" || (s.OrgID != "" && s.OrgID != org) {
		return false
	}
	return s.everywhere.Has(p) || s.orgs[org].Has(p)
}

// In gives all that the subject holds in an organization, or with "" in the enterprise and every organization.
func (s Subject) In(org string) Set {
	if org == "" {
		if s.OrgID != "" {
			return SetOf(ReadAccountMeta)
		}
		return s.enterprise | s.everywhere
	}
	if s.OrgID != "" && s.OrgID != org {
		return 0
	}
	return s.everywhere | s.orgs[org]
}

// MemberOf reports whether the subject holds a role of its own in an organization, whatever the role permits. Rights that count in
// every organization make nobody a member of one.
func (s Subject) MemberOf(org string) bool {
	_, ok := s.orgs[org]
	return ok && (s.OrgID == "" || s.OrgID == org)
}

// Orgs lists the organizations in which the subject holds a role of its own.
func (s Subject) Orgs() []string {
	out := make([]string, 0, len(s.orgs))
	for o := range s.orgs {
		out = append(out, o)
	}
	return out
}

// Require refuses unless the subject holds p in org. The fault names the permission and tells nothing about the organization.
func Require(s Subject, p Permission, org string) error {
	if s.Can(p, org) {
		return nil
	}
	return refuse(p, org)
}

// RequireAny refuses unless the subject holds one of ps; the contract accepts any name of such a list
// (contract/behaviour.md §2.2).
func RequireAny(s Subject, org string, ps ...Permission) error {
	for _, p := range ps {
		o := org
		if catalogue[p].Scope == Enterprise {
			o = ""
		}
		if s.Can(p, o) {
			return nil
		}
	}
	return refuse(ps[0], org)
}

func refuse(p Permission, org string) error {
	where := "in the enterprise"
	if org != "" && p.Scope() == Org {
		where = "in this organization"
	}
	return fault.New(fault.Forbidden, "the credential lacks the permission %s %s", p, where)
}

// RequireAdmin refuses unless the subject holds all that the built-in enterprise admin holds, by whatever role.
func RequireAdmin(s Subject) error {
	if s.EnterpriseScope() && s.In("").Covers(admin) {
		return nil
	}
	return fault.New(fault.Forbidden, "the credential is no enterprise admin's")
}

// RequireGive refuses to hand out permissions that the giver doesn't hold (contract/behaviour.md §19.3). org is where they will
// count, empty for the enterprise.
func RequireGive(s Subject, what Set, org string) error {
	missing := what &^ s.In(org)
	if missing == 0 {
		return nil
	}
	return fault.New(fault.Forbidden, "the role holds %s, which the credential doesn't; nobody gives more than they hold", missing.List()[0])
}
