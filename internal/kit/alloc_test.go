package kit

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
)

func TestTheEarlyCheckAllocatesNothing(t *testing.T) {
	s := access.Subject{Kind: access.ServiceUser, ID: "x", OrgID: "org-1"}.
		WithGrants(access.Grant{OrgID: "org-1", Permissions: access.SetOf(access.ManageOrgSessions)})
	c := &call{subject: s, org: "org-1"}
	o := &operation{any: []access.Permission{access.UseDevinSessions, access.ManageOrgSessions}}
	require.NoError(t, o.allow(c))
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = o.allow(c) }))
	c.org = "org-2"
	require.Error(t, o.allow(c))
}
