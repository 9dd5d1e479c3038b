package session

import "slices"

// PurgeQueries are what a purge does over and over: the query, its arguments, and the index that it reads.
func PurgeQueries() [][3]any {
	out := [][3]any{
		{walkQuery, []any{"org-7", 5, "x", 10}, "sessions_updated"},
		{filesQueries[0], []any{"org-7"}, "attachments_org"},
		{filesQueries[1], []any{"org-7"}, "attachments_org"},
		{eventsQueries[0], []any{"s"}, "session_events"},
		{eventsQueries[1], []any{"s"}, "session_events"},
		{textsQueries[0][0], []any{"org-7"}, "session_texts"},
		{textsQueries[0][1], []any{"org-7"}, "session_texts"},
		{textsQueries[1][0], []any{"org-7"}, "session_requests"},
		{textsQueries[1][1], []any{"org-7"}, "session_requests"},
		{`SELECT DISTINCT session_id FROM session_secrets WHERE session_id IN ($1, $2)`, []any{"s", "t"}, "session_secrets"},
	}
	for _, table := range slices.Concat(purgedTables, []string{"session_git"}) {
		out = append(out, [3]any{`DELETE FROM ` + table + ` WHERE session_id IN ($1, $2)`, []any{"s", "t"}, table})
	}
	return out
}
