package session

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
)

// What a deleted organization's sessions leave is taken away in steps (package org): their secrets at once, and after the grace period
// files, events, texts and what else anybody wrote. A session's row stays, for consumption by session: who, when, how it ran and what it
// cost.

const (
	// secretSteps is how many sessions are looked through for secrets in one step, purgeSteps how many lose the rest.
	secretSteps = 500
	purgeSteps  = 50
	// purgeRows is how many events one transaction takes away.
	purgeRows = 2000
)

// purged is a session on the way through an organization's.
type purged struct {
	id      string
	updated int64
	events  int64 // at most so many
	over    bool  // it has ended and is counted, so that nobody writes to it any more
}

// place is where a walk goes on after the session.
func (p purged) place() string { return strconv.FormatInt(p.updated, 10) + "/" + p.id }

// walkQuery reads an organization's sessions in the order of their change: one that is changed meanwhile comes again.
const walkQuery = `SELECT session_id, updated_at, last_seq, CASE WHEN ended_at IS NOT NULL AND counted = 1 THEN 1 ELSE 0 END FROM sessions
	WHERE org_id = $1 AND (updated_at, session_id) > ($2, $3) ORDER BY updated_at, session_id LIMIT $4`

func (v *Service) walk(ctx context.Context, orgID, after string, n int) ([]purged, error) {
	at, from, _ := strings.Cut(after, "/")
	updated, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		updated, from = 0, "" // from the beginning
	}
	return db.All(ctx, v.DB.Reader(), func(r db.Scanner) (purged, error) {
		var p purged
		return p, r.Scan(&p.id, &p.updated, &p.events, &p.over)
	}, walkQuery, orgID, updated, from, n)
}

func idsOf(sessions []purged) []string {
	ids := make([]string, len(sessions))
	for i, s := range sessions {
		ids[i] = s.id
	}
	return ids
}

// PurgeSecrets takes the secrets of a deleted organization's sessions, some sessions at a time. It is a step as org.Remains has it.
func (v *Service) PurgeSecrets(ctx context.Context, orgID, after string) (string, error) {
	sessions, err := v.walk(ctx, orgID, after, secretSteps)
	if err != nil || len(sessions) == 0 {
		return "", err
	}
	var w db.Where
	w.In("session_id", idsOf(sessions))
	some, err := db.All(ctx, v.DB.Reader(), db.Text, `SELECT DISTINCT session_id FROM session_secrets`+w.SQL(), w.Args()...)
	if err != nil {
		return "", err
	}
	if len(some) > 0 {
		err = v.DB.Write(ctx, func(ctx context.Context, tx *db.Tx) error { return forgetSecretsTx(ctx, tx, some) })
	}
	return sessions[len(sessions)-1].place(), err
}

func forgetSecretsTx(ctx context.Context, tx *db.Tx, sessionIDs []string) error {
	return deleteOfTx(ctx, tx, "session_secrets", sessionIDs)
}

// deleteOfTx deletes the rows of sessions. The table is a constant of this file.
func deleteOfTx(ctx context.Context, tx *db.Tx, table string, sessionIDs []string) error {
	var w db.Where
	w.In("session_id", sessionIDs)
	_, err := db.Exec(ctx, tx, `DELETE FROM `+table+w.SQL(), w.Args()...)
	return err
}

// PurgeFiles takes a deleted organization's attachments: the files, and then the rows that tell of them.
func (v *Service) PurgeFiles(ctx context.Context, orgID string) (bool, error) {
	if err := v.Blobs.DeleteBelow(ctx, "attachments/"+orgID); err != nil {
		return false, err
	}
	return db.Clear(ctx, v.DB, filesQueries[0], filesQueries[1], orgID)
}

var filesQueries = [2]string{
	`SELECT 1 FROM attachments WHERE org_id = $1 LIMIT 1`,
	`DELETE FROM attachments WHERE attachment_id IN (SELECT attachment_id FROM attachments WHERE org_id = $1 LIMIT 500)`,
}

// PurgeSessions takes from a deleted organization's sessions all but their rows. It is a step as org.Remains has it, and fails as long
// as a session hasn't ended.
func (v *Service) PurgeSessions(ctx context.Context, orgID, after string) (string, error) {
	sessions, err := v.walk(ctx, orgID, after, purgeSteps)
	if err != nil || len(sessions) == 0 {
		return "", err
	}
	few, events := 0, int64(0)
	for _, s := range sessions {
		if !s.over {
			return "", fault.New(fault.Conflict, "session %s of the deleted organization hasn't ended yet", s.id)
		}
		if events += s.events; few > 0 && events > purgeRows {
			break
		}
		if err := v.Blobs.DeleteBelow(ctx, "sessions/"+s.id); err != nil { // before the events that tell of it
			return "", err
		}
		few++
	}
	sessions = sessions[:few]
	if sessions[0].events > purgeRows {
		if more, err := v.purgeEvents(ctx, sessions[0].id); err != nil || more {
			if after == "" {
				after = "0/"
			}
			return after, err
		}
	}
	err = v.DB.Write(ctx, func(ctx context.Context, tx *db.Tx) error { return v.purgeTx(ctx, tx, idsOf(sessions)) })
	return sessions[few-1].place(), err
}

// purgeEvents takes some of a session's many events. When it says that there were none, there may be few left.
func (v *Service) purgeEvents(ctx context.Context, sessionID string) (bool, error) {
	return db.Clear(ctx, v.DB, eventsQueries[0], eventsQueries[1], sessionID)
}

var eventsQueries = [2]string{
	`SELECT 1 FROM session_events WHERE session_id = $1 LIMIT 1`,
	`DELETE FROM session_events WHERE session_id = $1 AND seq < (SELECT MIN(seq) + ` + strconv.Itoa(purgeRows) +
		` FROM session_events WHERE session_id = $1)`,
}

// purgedTables hold what was said and done in sessions, by session_id. What may still become an event comes first.
var purgedTables = []string{
	"session_pulls", "session_events", "session_commands", "session_notes", "session_playbooks", "session_org_secrets", "session_secrets", "session_tags", "session_repos",
}

// purgeTx takes all that sessions have besides their rows, and from the rows what anybody wrote. It changes neither their time nor what
// they count for.
func (v *Service) purgeTx(ctx context.Context, tx *db.Tx, sessionIDs []string) error {
	for _, table := range purgedTables {
		if err := deleteOfTx(ctx, tx, table, sessionIDs); err != nil {
			return fmt.Errorf("%s: %w", table, err)
		}
	}
	if err := v.Forge.UnbindTx(ctx, tx, sessionIDs); err != nil {
		return err
	}
	var w db.Where
	w.In("session_id", sessionIDs)
	_, err := db.Exec(ctx, tx, `UPDATE sessions SET title = NULL, status_reason = NULL, tags = '[]', repos = '[]', session_links = '[]',
		knowledge_ids = NULL, secret_ids = NULL, pull_requests = '[]', structured_output = NULL, structured_output_schema = NULL`+w.SQL(), w.Args()...)
	return err
}

// PurgeTexts takes the texts that a deleted organization's sessions were given, and what its repeated requests asked for.
func (v *Service) PurgeTexts(ctx context.Context, orgID string) (bool, error) {
	return db.ClearFirst(ctx, v.DB, textsQueries, orgID)
}

var textsQueries = [][2]string{
	{
		`SELECT 1 FROM session_texts WHERE org_id = $1 LIMIT 1`,
		`DELETE FROM session_texts WHERE org_id = $1 AND hash IN (SELECT hash FROM session_texts WHERE org_id = $1 LIMIT 100)`,
	},
	{
		`SELECT 1 FROM session_requests WHERE org_id = $1 LIMIT 1`,
		`DELETE FROM session_requests WHERE org_id = $1 AND (principal_id, hash) IN
			(SELECT principal_id, hash FROM session_requests WHERE org_id = $1 LIMIT 500)`,
	},
}
