package session_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/session"
)

func TestArchivingASessionArchivesItsChildrenAndPutsThemToSleep(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		for name, c := range map[string]struct {
			do   func(ctx context.Context, who access.Subject, orgID, id string) (*session.Session, error)
			want string
		}{
			"archive": {h.Archive, "suspended/user_request"},
			"terminate and archive": {func(ctx context.Context, who access.Subject, orgID, id string) (*session.Session, error) {
				return h.Terminate(ctx, who, orgID, id, true)
			}, "exit/"},
		} {
			parent := h.create(t)
			child := h.create(t, func(p *session.CreateParams) { p.ParentID = parent.ID })
			grandchild := h.create(t, func(p *session.CreateParams) { p.ParentID = child.ID })
			got, err := c.do(t.Context(), h.boss, h.org, parent.ID)
			require.NoError(t, err)
			require.True(t, got.Archived)
			require.Equal(t, c.want, h.state(t, parent.ID), name)
			for _, id := range []string{child.ID, grandchild.ID} {
				require.True(t, h.get(t, id).Archived, name)
				require.Equal(t, "suspended/user_request", h.state(t, id), "%s: it may be woken again", name)
			}
			_, err = h.Unarchive(t.Context(), h.boss, h.org, child.ID)
			require.NoError(t, err)
			require.False(t, h.get(t, child.ID).Archived)
			require.True(t, h.get(t, grandchild.ID).Archived, "%s: one session comes back, not its children", name)
		}
		parent := h.create(t)
		child := h.create(t, func(p *session.CreateParams) { p.ParentID = parent.ID })
		_, err := h.Terminate(t.Context(), h.boss, h.org, parent.ID, false)
		require.NoError(t, err)
		require.False(t, h.get(t, child.ID).Archived)
		require.Equal(t, "new/", h.state(t, child.ID), "ending a session leaves its children alone")
	})
}
