package fleet_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/audit"
	"gantry/internal/fleet"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
)

func TestOutpostsAreMadeListedAndDeleted(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		o, err := h.CreateOutpost(ctx, boss, "gpu-1", "linux-gpu", "two cards")
		require.NoError(t, err)
		got, err := h.GetOutpost(ctx, user, o.ID)
		require.NoError(t, err)
		require.Equal(t, o, got)
		_, err = h.CreateOutpost(ctx, boss, "gpu-1", "", "")
		isFault(t, err, fault.Conflict)
		for field, p := range map[string][3]string{
			"name": {"", "", ""}, "platform": {"a", strings.Repeat("x", 1001), ""}, "description": {"a", "", "\x00"},
		} {
			_, err = h.CreateOutpost(ctx, boss, p[0], p[1], p[2])
			isFault(t, err, fault.Invalid)
			require.Equal(t, []string{"body", field}, fault.As(err).Fields[0].Loc)
		}
		for _, name := range []string{"-x", "a b", "Inherit", strings.Repeat("x", 64), "a/b", "ä"} {
			_, err = h.CreateOutpost(ctx, boss, name, "", "")
			isFault(t, err, fault.Invalid)
		}

		h.enqueue(t, o.ID, "org-1", "s1")
		h.enqueue(t, o.ID, "org-2", "s2")
		h.enqueue(t, o.ID, "org-2", "s3")
		h.claim(t, "s3")
		got, err = h.GetOutpost(ctx, user, o.ID)
		require.NoError(t, err)
		require.EqualValues(t, 2, got.QueueDepth)
		require.EqualValues(t, 1, got.ActiveClaims)
		for _, s := range []string{"s1", "s2", "s3"} {
			_, err = h.DeleteOutpost(ctx, boss, o.ID)
			isFault(t, err, fault.Conflict)
			h.leave(t, s, fleet.Ended, fleet.StatusTerminated)
		}
		require.Equal(t, []audit.Action{audit.CreateOutpost}, h.actions(t), "what was refused wasn't done")
		_, err = h.DeleteOutpost(ctx, boss, o.ID)
		require.NoError(t, err)
		require.Equal(t, []audit.Action{audit.CreateOutpost, audit.DeleteOutpost}, h.actions(t))
		_, err = h.GetOutpost(ctx, user, o.ID)
		isFault(t, err, fault.NotFound)
		_, err = h.DeleteOutpost(ctx, boss, o.ID)
		isFault(t, err, fault.NotFound)
		_, err = h.DeleteOutpost(ctx, boss, fleet.DefaultOutpost)
		isFault(t, err, fault.Conflict)
		_, err = h.CreateOutpost(ctx, boss, "gpu-1", "", "")
		require.NoError(t, err, "a deleted one's name is free")
	})
}

func TestOutpostsArePaged(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		for i := range 6 {
			_, err := h.CreateOutpost(t.Context(), boss, strings.Repeat("x", i+1), "", "")
			require.NoError(t, err)
			if i%3 == 0 {
				h.time.Advance(time.Second)
			}
		}
		seen := map[string]bool{}
		r := page.Request{First: 2}
		for {
			p, err := h.Outposts(t.Context(), user, r)
			require.NoError(t, err)
			for _, o := range p.Items {
				require.False(t, seen[o.Name], o.Name)
				seen[o.Name] = true
			}
			if !p.More {
				break
			}
			r.After = p.End
		}
		require.Len(t, seen, 7)
	})
}

func TestAPlatformLeadsToItsOutpost(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		o, err := h.CreateOutpost(t.Context(), boss, "Gpu", "linux-GPU", "")
		require.NoError(t, err)
		for in, want := range map[string]string{"": fleet.DefaultOutpost, "default": fleet.DefaultOutpost, "gpu": o.ID, "LINUX-gpu": o.ID} {
			got, err := h.OutpostFor(t.Context(), in)
			require.NoError(t, err)
			require.Equal(t, want, got, in)
		}
		_, err = h.OutpostFor(t.Context(), "mars")
		isFault(t, err, fault.BadRequest)
		require.Contains(t, err.Error(), "inherit, Gpu, default, linux-GPU")
	})
}

func TestWhoMayUseTheFleet(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		_, err := h.CreateOutpost(ctx, user, "x", "", "")
		isFault(t, err, fault.Forbidden)
		_, err = h.DeleteOutpost(ctx, user, fleet.DefaultOutpost)
		isFault(t, err, fault.Forbidden)
		_, err = h.Drain(ctx, user, "x")
		isFault(t, err, fault.Forbidden)
		_, err = h.Outposts(ctx, nobody, page.Request{First: 1})
		isFault(t, err, fault.Forbidden)
		_, err = h.GetOutpost(ctx, worker, fleet.DefaultOutpost)
		isFault(t, err, fault.Forbidden)
		_, err = h.Hypervisors(ctx, user, "", page.Request{First: 1})
		isFault(t, err, fault.Forbidden)
		_, err = h.Queue(ctx, user)
		isFault(t, err, fault.Forbidden)
		_, err = h.Watch(ctx, nobody, fleet.WatchParams{OutpostID: fleet.DefaultOutpost, First: 1})
		isFault(t, err, fault.Forbidden)
		_, err = h.Watch(ctx, worker, fleet.WatchParams{OutpostID: "outpost_env-1", First: 1})
		isFault(t, err, fault.Forbidden)
	})
}

func TestTheQueuesLevels(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		pending, oldest, err := h.Depth(ctx)
		require.NoError(t, err)
		require.Zero(t, pending+oldest)
		add := func(n int, status string) {
			for range n {
				h.session(t, status)
			}
		}
		for _, step := range []struct {
			n    int
			size int64
			want string
		}{{0, 0, "normal"}, {10, 10, "normal"}, {1, 11, "elevated"}, {39, 50, "elevated"}, {1, 51, "high"}} {
			add(step.n, []string{"new", "claimed", "resuming"}[step.n%3])
			add(1, []string{"running", "suspended", "exit", "error"}[step.n%4])
			q, err := h.Queue(ctx, boss)
			require.NoError(t, err)
			require.Equal(t, fleet.QueueState{Size: step.size, Status: step.want}, q)
		}
		h.enqueue(t, fleet.DefaultOutpost, "org-1", "s1")
		h.time.Advance(3 * time.Second)
		h.enqueue(t, fleet.DefaultOutpost, "org-1", "s2")
		h.time.Advance(time.Second)
		pending, oldest, err = h.Depth(ctx)
		require.NoError(t, err)
		require.Equal(t, []int64{2, 4000}, []int64{pending, oldest})
	})
}
