package main

import (
	"database/sql"
	"encoding/json"
	"errors"
	"strings"
)

// The statements are Gantry's own, word for word (internal/session, fleet and audit). That both sides give the same answers and leave the
// same rows is checked before anything is measured.
const (
	bareColumns = `session_id, org_id, title, status, status_detail, status_reason, created_at, updated_at, user_id, service_user_id,
	playbook_id, child_playbook_id, parent_session_id, child_session_ids, schedule_id, automation_id, origin, category, subcategory,
	devin_mode, platform, agent, tags, repos, session_links, pull_requests, is_archived, resumable, bypass_approval,
	structured_output, structured_output_schema, structured_output_required, max_acu_limit, acu_micros, run_acu_micros,
	metered_at, interval_start, idle_since, turn_command, last_seq, last_command, acked_command, num_user_messages,
	num_devin_messages, ended_at, outpost_id`
	bareGet    = `SELECT ` + bareColumns + ` FROM sessions WHERE session_id = $1`
	bareEvents = `SELECT seq, event_id, type, created_at, data FROM session_events
		WHERE session_id = $1 AND seq > $2 ORDER BY seq LIMIT $3`
	bareInsertSession = `INSERT INTO sessions (session_id, org_id, title, status, created_at, updated_at, user_id,
			service_user_id, playbook_id, child_playbook_id, parent_session_id, child_session_ids, schedule_id, automation_id, origin,
			devin_mode, platform, agent, tags, repos, session_links, knowledge_ids, secret_ids, pull_requests, is_archived, resumable,
			bypass_approval, structured_output_schema, structured_output_required, max_acu_limit, acu_micros, run_acu_micros, last_seq,
			last_command, acked_command, num_user_messages, num_devin_messages, outpost_id, size, counted)
		VALUES ($1, $2, $3, $4, $5, $5, $6, $7, $8, $9, $10, '[]', $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, '[]', 0, $22,
			$23, $24, $25, $26, 0, 0, $27, $28, 0, 1, 0, $29, 'xs', 1)`
	bareInsertTag = `INSERT INTO session_tags (session_id, tag, org_id, created_at) VALUES ($1, $2, $3, $4)
			ON CONFLICT DO NOTHING`
	bareInsertCommand = `INSERT INTO session_commands (session_id, number, kind, data, created_at) VALUES ($1, $2, $3, $4, $5)`
	bareInsertEvents  = `INSERT INTO session_events (session_id, seq, event_id, type, created_at, data, payload, raw) VALUES ` +
		`($1, $2, $3, $4, $5, $6, $7, $8), ($9, $10, $11, $12, $13, $14, $15, $16)`
	bareInsertQueue = `INSERT INTO queue (session_id, org_id, outpost_id, kind, phase, session_status, platform, fence,
			last_batch, secrets_given, enqueued_at, created_at, updated_at)
		VALUES ($1, $2, $3, $4, 'pending', 'pending', $5, 0, 0, 0, $6, $6, $6)
		ON CONFLICT (session_id) DO UPDATE SET kind = excluded.kind, phase = 'pending', session_status = 'pending',
			acceptor_id = NULL, token_hash = NULL, claim_deadline = NULL, lease_until = NULL, enqueued_at = excluded.enqueued_at,
			updated_at = CASE WHEN queue.updated_at < excluded.updated_at THEN excluded.updated_at ELSE queue.updated_at + 1 END
		WHERE queue.phase <> 'pending'`
	bareInsertLane = `INSERT INTO queue_lanes (outpost_id, org_id, pending, served_at) VALUES ($1, $2, $3, 0)
		ON CONFLICT (outpost_id, org_id) DO UPDATE SET pending = queue_lanes.pending + excluded.pending`
	bareInsertAudit = `INSERT INTO audit_entries (audit_log_id, created_at, action, org_id, user_id, user_email,
			service_user_id, service_user_name, request_id, data, stamp)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`
	bareInsertDays = `INSERT INTO metric_days (org_id, user_id, service_user_id, playbook_id, shard, day, origin_api, sessions, size_xs) VALUES ` +
		`($1, $2, $3, $4, $5, $6, $7, $8, $9), ($10, $11, $12, $13, $14, $15, $16, $17, $18), ` +
		`($19, $20, $21, $22, $23, $24, $25, $26, $27), ($28, $29, $30, $31, $32, $33, $34, $35, $36) ` +
		`ON CONFLICT (org_id, user_id, service_user_id, playbook_id, shard, day) DO UPDATE SET origin_api = metric_days.origin_api + ` +
		`excluded.origin_api, sessions = metric_days.sessions + excluded.sessions, size_xs = metric_days.size_xs + excluded.size_xs`
)

// bareList is the list's statement: the same columns under the table's alias.
//
//nolint:gosec // constants of this file
var bareList = `SELECT s.` + strings.Join(strings.FieldsFunc(bareColumns, func(r rune) bool { return strings.ContainsRune(", \n\t", r) }), ", s.") +
	` FROM sessions s WHERE s.org_id = $1 AND s.is_archived = $2 ORDER BY s.created_at DESC, s.session_id DESC LIMIT $3`

type barePage struct {
	Items       []bareSession `json:"items"`
	EndCursor   *string       `json:"end_cursor"`
	HasNextPage bool          `json:"has_next_page"`
	Total       *int64        `json:"total"`
}

type bareSession struct {
	SessionID        string          `json:"session_id"`
	URL              string          `json:"url"`
	Status           string          `json:"status"`
	StatusDetail     *string         `json:"status_detail"`
	Title            *string         `json:"title"`
	Tags             []string        `json:"tags"`
	OrgID            string          `json:"org_id"`
	CreatedAt        int64           `json:"created_at"`
	UpdatedAt        int64           `json:"updated_at"`
	ACUsConsumed     float64         `json:"acus_consumed"`
	PullRequests     []barePull      `json:"pull_requests"`
	UserID           *string         `json:"user_id"`
	ServiceUserID    *string         `json:"service_user_id"`
	PlaybookID       *string         `json:"playbook_id"`
	AutomationID     *string         `json:"automation_id"`
	ParentSessionID  *string         `json:"parent_session_id"`
	ChildSessionIDs  []string        `json:"child_session_ids"`
	Origin           *string         `json:"origin"`
	Category         *string         `json:"category"`
	Subcategory      *string         `json:"subcategory"`
	DevinMode        *string         `json:"devin_mode"`
	IsArchived       bool            `json:"is_archived"`
	IsAdvanced       bool            `json:"is_advanced"`
	StructuredOutput json.RawMessage `json:"structured_output"`
}

type barePull struct {
	PRURL   string  `json:"pr_url"`
	PRState *string `json:"pr_state"`
}

type bareEvent struct {
	Seq       int64           `json:"seq"`
	Type      string          `json:"type"`
	CreatedAt int64           `json:"created_at"`
	Data      json.RawMessage `json:"data"`
}

// bareScan reads every column of a session, as Gantry does, into what the answer needs.
func bareScan(r interface{ Scan(...any) error }) (out bareSession, createdAt int64, err error) {
	var user, service, playbook, childPlaybook, parent, schedule, automation, title, detail, reason sql.NullString
	var category, subcategory, mode, platform, output, schema sql.NullString
	var origin, agent, children, tags, repos, links, prs, outpost string
	var created, updated, micros, run, seq, command, acked, users, devins int64
	var limit, metered, start, idle, turn, ended sql.NullInt64
	var resumable, bypass, required bool
	err = r.Scan(&out.SessionID, &out.OrgID, &title, &out.Status, &detail, &reason, &created, &updated, &user, &service,
		&playbook, &childPlaybook, &parent, &children, &schedule, &automation, &origin, &category, &subcategory,
		&mode, &platform, &agent, &tags, &repos, &links, &prs, &out.IsArchived, &resumable, &bypass,
		&output, &schema, &required, &limit, &micros, &run,
		&metered, &start, &idle, &turn, &seq, &command, &acked, &users,
		&devins, &ended, &outpost)
	if err != nil {
		return out, 0, err
	}
	out.URL = "/sessions/" + out.SessionID
	out.StatusDetail, out.Title, out.UserID, out.ServiceUserID = null(detail), null(title), null(user), null(service)
	out.PlaybookID, out.AutomationID, out.ParentSessionID = null(playbook), null(automation), null(parent)
	out.Origin, out.Category, out.Subcategory, out.DevinMode = &origin, null(category), null(subcategory), null(mode)
	out.CreatedAt, out.UpdatedAt, out.ACUsConsumed = created/1000, updated/1000, float64(micros)/1e6
	if output.Valid {
		out.StructuredOutput = json.RawMessage(output.String)
	}
	out.PullRequests = []barePull{}
	return out, created, errors.Join(texts(tags, &out.Tags), texts(children, &out.ChildSessionIDs))
}

// texts decodes a JSON column; nearly all are empty.
func texts(column string, into *[]string) error {
	if column == "[]" {
		*into = []string{}
		return nil
	}
	return json.Unmarshal([]byte(column), into)
}

func null(s sql.NullString) *string {
	if !s.Valid {
		return nil
	}
	return &s.String
}
