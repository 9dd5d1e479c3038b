package older_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/api/older"
	"gantry/internal/audit"
	"gantry/internal/platform/fault"
)

func TestATimeOfTheQueryMayBeWrittenInManyWays(t *testing.T) {
	t.Parallel()
	noon := time.Date(2025, 1, 31, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"":                              {},
		"2025-01-31":                    time.Date(2025, 1, 31, 0, 0, 0, 0, time.UTC),
		"2025-01-31T12:00:00Z":          noon,
		"2025-01-31T12:00:00":           noon,
		"2025-01-31T12:00":              noon,
		"2025-01-31 12:00:00":           noon,
		"2025-01-31T12:00:00.000000":    noon,
		"2025-01-31T13:00:00.000+01:00": noon,
		"1738324800":                    noon,
		"1738324800000":                 noon,
		"0":                             time.Unix(0, 0).UTC(),
		"0001-01-01":                    time.Unix(0, 0).UTC(), // not the zero time, which is none
		"9999-12-31":                    time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC),
	} {
		got, err := older.Instant("after", text)
		require.NoError(t, err, text)
		require.True(t, want.Equal(got), "%s: %s", text, got)
	}
	for _, bad := range []string{"yesterday", "2025-13-01", "-1", "2025-01-31T12:00:00Zx", "99999999999999999999", "1e9", "9999-12-31T23:00:00-12:00"} {
		_, err := older.Instant("after", bad)
		require.True(t, fault.Is(err, fault.Invalid), bad)
		require.Equal(t, []string{"query", "after"}, fault.As(err).Fields[0].Loc)
	}
}

func FuzzInstant(f *testing.F) {
	f.Add("2025-01-31")
	f.Add("1738324800")
	f.Add("9999-12-31T23:59:59-23:59")
	f.Fuzz(func(t *testing.T, text string) {
		at, err := older.Instant("x", text)
		if err != nil || text == "" {
			return
		}
		again, err := older.Instant("x", older.Time(at))
		require.NoError(t, err, "what is read can be written and read again")
		require.WithinDuration(t, at, again, time.Microsecond)
	})
}

func TestAnEntrysOwnFieldsNeverHideTheCommonOnes(t *testing.T) {
	t.Parallel()
	e, err := older.EntryOf(audit.Log{
		ID: "audit-1", CreatedAt: time.UnixMilli(5), Action: "create_session", OrgID: "org-1",
		Data: json.RawMessage(`{"session_id":"s","action":"other","created_at":1,"note":null}`),
	})
	require.NoError(t, err)
	require.Equal(t, older.AuditEntry{
		"audit_log_id": "audit-1", "created_at": int64(5), "action": "create_session", "org_id": "org-1", "user_id": nil,
		"user_email": nil, "service_user_id": nil, "service_user_name": nil, "session_id": "s", "target_user_id": nil, "note": nil,
	}, e)
}

func TestTimesAreWrittenWithMicrosecondsAndAnOffset(t *testing.T) {
	t.Parallel()
	require.Equal(t, "2025-01-31T12:00:00.001000+00:00", older.Time(time.Date(2025, 1, 31, 13, 0, 0, 1e6, time.FixedZone("", 3600))))
	require.Nil(t, older.NullTime(time.Time{}))
}
