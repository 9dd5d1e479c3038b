package usage_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/platform/fault"
	"gantry/internal/usage"
)

func TestASpreadAddsUpByDayOrganizationAndPerson(t *testing.T) {
	t.Parallel()
	each(t, usage.Options{}, func(t *testing.T, h *house) {
		h.person(t, "u", h.a)
		const d = 15 * time.Minute
		h.worked(t, usage.Work{SessionID: "s1", OrgID: h.a, UserID: "u"}, noon, d)
		h.worked(t, usage.Work{SessionID: "s2", OrgID: h.b, ServiceUserID: "x"}, noon, d)
		h.worked(t, usage.Work{SessionID: "s3", OrgID: h.b, UserID: "u"}, noon.AddDate(0, 0, -1), d)
		h.worked(t, usage.Work{SessionID: "s4", OrgID: h.a, UserID: "u"}, noon.AddDate(0, -1, 0), d)
		spread := func(p usage.SpreadParams) usage.Spread {
			s, err := h.Spread(t.Context(), viewer, p)
			require.NoError(t, err)
			var sum int64
			for _, n := range s.ByDay {
				sum += n
			}
			require.Equal(t, s.Total, sum)
			return s
		}
		epoch := time.Unix(0, 0)
		all := spread(usage.SpreadParams{After: epoch})
		one := all.Total / 4
		require.Positive(t, one)
		require.Equal(t, map[string]int64{h.a: 2 * one, h.b: 2 * one}, all.ByOrg)
		require.Equal(t, map[string]int64{"u": 3 * one}, all.ByUser, "service users have no place here")
		require.Len(t, all.ByDay, 3)
		for day := range all.ByDay {
			require.Equal(t, 8, day.UTC().Hour())
		}
		require.Equal(t, 3*one, spread(usage.SpreadParams{}).Total, "the cycle that runs")
		require.Equal(t, one, spread(usage.SpreadParams{Before: at("2026-03-01T07:00:00Z")}).Total, "the cycle of the end")
		require.Equal(t, 2*one, spread(usage.SpreadParams{After: epoch, OrgIDs: []string{h.b}}).Total)
		require.Equal(t, map[string]int64{"u": 3 * one}, spread(usage.SpreadParams{After: epoch, UserID: "u"}).ByUser)
		require.Equal(t, one, spread(usage.SpreadParams{After: epoch, UserID: "u", OrgIDs: []string{h.b}}).Total)

		_, err := h.Spread(t.Context(), viewer, usage.SpreadParams{UserID: "nobody"})
		isFault(t, err, fault.NotFound)
		_, err = h.Spread(t.Context(), viewer, usage.SpreadParams{After: noon, Before: epoch})
		isFault(t, err, fault.Invalid)
		_, err = h.Spread(t.Context(), access.As("weak", access.ManageOrganizations), usage.SpreadParams{})
		isFault(t, err, fault.Forbidden)
	})
}
