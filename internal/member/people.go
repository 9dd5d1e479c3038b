package member

import (
	"fmt"
	"net/mail"
	"strings"
	"time"
	"unicode/utf8"

	"gantry/internal/access"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
)

// Rules for people, from contract/behaviour.md §2.4, §2.5, §12 and §19.3:
//   - Whoever has a row is a member of the enterprise, also without a role of their own: groups of the identity provider may give some.
//   - An address belongs to one member. It is compared without case, and shown as it was first given.
//   - A role in an organization needs a member; there is at most one direct role each in the enterprise and in an organization.
//   - What a person may do is the union of their direct roles and those of all their groups.
//   - Whoever leaves the enterprise leaves every organization and every group, and their keys end. Invited again they are somebody new.

// MaxBulk is how many addresses or group names one call takes.
const MaxBulk = 100

// maxEmail is the longest address that mail can carry, in bytes (RFC 5321).
const maxEmail = 254

// Person is a member of the enterprise. Name is empty until they first sign in. Roles are direct, GroupRoles come with groups of the
// identity provider.
type Person struct {
	ID         string
	Email      string
	Name       string
	CreatedAt  time.Time
	Roles      []RoleAssignment
	GroupRoles []GroupRole
	// New says that Invite has just made them a member.
	New bool
}

// GroupRole is a role that a person holds because they are in a group.
type GroupRole struct {
	Group string
	RoleAssignment
}

// in gives the person as an organization sees them: with the roles that they hold there. ok says that there are any.
func (p Person) in(orgID string) (seen Person, ok bool) {
	seen = p
	seen.Roles, seen.GroupRoles = nil, nil
	for _, a := range p.Roles {
		if a.OrgID == orgID {
			seen.Roles = append(seen.Roles, a)
		}
	}
	for _, g := range p.GroupRoles {
		if g.OrgID == orgID {
			seen.GroupRoles = append(seen.GroupRoles, g)
		}
	}
	return seen, len(seen.Roles)+len(seen.GroupRoles) > 0
}

// InviteParams make members of all addresses that aren't known yet, with one enterprise role.
type InviteParams struct {
	Emails []string
	RoleID string
}

// emails checks the addresses and gives them once each, in their order, with the keys that they are compared by.
func (p InviteParams) emails() (emails, keys []string, err error) {
	if len(p.Emails) > MaxBulk {
		return nil, nil, fault.InvalidField("emails", "must have at most %d items", MaxBulk)
	}
	if p.RoleID == "" {
		return nil, nil, fault.InvalidField("enterprise_role_id", "must not be empty")
	}
	seen := make(map[string]bool, len(p.Emails))
	for i, e := range p.Emails {
		if !isEmail(e) {
			return nil, nil, fault.InvalidField(fmt.Sprintf("emails.%d", i), "must be an e-mail address of at most %d bytes", maxEmail)
		}
		if k := emailKey(e); !seen[k] {
			seen[k] = true
			emails, keys = append(emails, e), append(keys, k)
		}
	}
	return emails, keys, nil
}

// isEmail takes a bare address: no display name, no comment, no space around it.
func isEmail(s string) bool {
	if len(s) > maxEmail || !utf8.ValidString(s) {
		return false
	}
	a, err := mail.ParseAddress(s)
	return err == nil && a.Name == "" && a.Address == s
}

func emailKey(email string) string { return strings.ToLower(email) }

// PeopleParams choose people. OrgID "" is the enterprise. Email, when there is one, is an exact address in any case.
type PeopleParams struct {
	OrgID string
	Email string
	Page  page.Request
}

// PersonRoleParams name a person and a role, in an organization or with OrgID "" in the enterprise.
type PersonRoleParams struct {
	OrgID  string
	UserID string
	RoleID string
}

// scopeOf is the scope of roles that count in an organization, or with "" in the enterprise.
func scopeOf(orgID string) access.Scope {
	if orgID == "" {
		return access.Enterprise
	}
	return access.Org
}

var errNoRoleThere = fault.New(fault.NotFound, "the user has no role there")
