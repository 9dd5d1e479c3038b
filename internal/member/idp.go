package member

import (
	"fmt"
	"time"

	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
)

// Rules for groups of the identity provider, from contract/behaviour.md §2.4, §2.5, §12 and §19.3:
//   - Only registered groups count. A name is what the provider sends: a line of text of up to 256 characters, compared exactly.
//   - A group holds at most one role in the enterprise and one in each organization; everybody in it holds them too.
//   - A group without any role gets its first one in the enterprise.
//   - A group that holds roles or has members stays registered.
//   - Who is in a group is said by the provider at each sign-in.

// Group is a registered group of the identity provider. Roles are filled where a use case says so.
type Group struct {
	Name      string
	CreatedAt time.Time
	Roles     []RoleAssignment
}

// GroupsParams choose groups that hold a role: in an organization, or with OrgID "" in the enterprise.
type GroupsParams struct {
	OrgID string
	Page  page.Request
}

// GroupRoleParams name a group and a role, in an organization or with OrgID "" in the enterprise.
type GroupRoleParams struct {
	OrgID  string
	Group  string
	RoleID string
	// FirstAnywhere lets a group's first role be in an organization: v2 knows no other roles of groups.
	FirstAnywhere bool
}

// checkGroupNames gives the names once each, in their order.
func checkGroupNames(names []string) ([]string, error) {
	if len(names) < 1 || len(names) > MaxBulk {
		return nil, fault.InvalidField("idp_group_names", "must have 1 to %d items", MaxBulk)
	}
	out := make([]string, 0, len(names))
	seen := make(map[string]bool, len(names))
	for i, n := range names {
		if err := checkName(fmt.Sprintf("idp_group_names.%d", i), n); err != nil {
			return nil, err
		}
		if !seen[n] {
			seen[n] = true
			out = append(out, n)
		}
	}
	return out, nil
}

var (
	errNoGroup          = fault.New(fault.NotFound, "the IdP group isn't registered")
	errNoGroupThere     = fault.New(fault.NotFound, "the IdP group has no role there")
	errGroupHasRole     = fault.New(fault.Conflict, "the IdP group has a role there already; change it instead")
	errGroupWithoutRole = fault.New(fault.Conflict, "the IdP group holds no role yet; give it one in the enterprise first")
	errGroupInUse       = fault.New(fault.Conflict, "the IdP group holds roles or has members")
)
