package schedule

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"gantry/internal/platform/db"
)

const columns = `schedule_id, org_id, name, prompt, playbook_id, schedule_type, frequency, interval_count, scheduled_at, enabled, agent,
	platform, tags, bypass_approval, target_session_id, notify_on, slack_channel_id, slack_team_id, run_as_user_id, created_by,
	last_edited_by, created_at, updated_at, version, next_run_at, last_executed_at, last_session_id, consecutive_failures,
	last_error_at, last_error_message, failure_mailed_at`

func scan(r db.Scanner) (Schedule, error) {
	var s Schedule
	var tags string
	err := r.Scan(&s.ID, &s.OrgID, &s.Name, &s.Prompt, db.OrEmpty(&s.PlaybookID), &s.Type, db.OrEmpty(&s.Frequency), &s.IntervalCount,
		db.OrZero(&s.ScheduledAt), &s.Enabled, &s.Agent, db.OrEmpty(&s.Platform), db.OrEmpty(&tags), &s.BypassApproval, db.OrEmpty(&s.TargetID),
		&s.NotifyOn, db.OrEmpty(&s.SlackChannelID), db.OrEmpty(&s.SlackTeamID), db.OrEmpty(&s.RunAsUserID), db.OrEmpty(&s.CreatedBy),
		db.OrEmpty(&s.LastEditedBy), db.OrZero(&s.CreatedAt), db.OrZero(&s.UpdatedAt), &s.version, db.OrZero(&s.NextRunAt),
		db.OrZero(&s.LastExecutedAt), db.OrEmpty(&s.LastSessionID), &s.ConsecutiveFailures, db.OrZero(&s.LastErrorAt),
		db.OrEmpty(&s.LastErrorMessage), db.OrZero(&s.failureMailedAt))
	if err == nil && tags != "" {
		err = json.Unmarshal([]byte(tags), &s.Tags)
	}
	return s, err
}

func tagsColumn(tags []string) (sql.NullString, error) {
	if tags == nil {
		return sql.NullString{}, nil
	}
	b, err := json.Marshal(tags)
	return sql.NullString{String: string(b), Valid: true}, err
}

func insertTx(ctx context.Context, tx *db.Tx, s *Schedule) error {
	tags, err := tagsColumn(s.Tags)
	if err != nil {
		return err
	}
	_, err = db.Exec(ctx, tx, `INSERT INTO schedules (schedule_id, org_id, name, prompt, playbook_id, schedule_type, frequency,
			interval_count, scheduled_at, enabled, agent, platform, tags, bypass_approval, target_session_id, notify_on, slack_channel_id,
			slack_team_id, run_as_user_id, created_by, created_at, updated_at, version, next_run_at, consecutive_failures)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $21, 1, $22, 0)`,
		s.ID, s.OrgID, s.Name, s.Prompt, db.Null(s.PlaybookID), string(s.Type), db.Null(s.Frequency), s.IntervalCount,
		db.NullMillis(s.ScheduledAt), db.Bool(s.Enabled), s.Agent, db.Null(s.Platform), tags, db.Bool(s.BypassApproval),
		db.Null(s.TargetID), string(s.NotifyOn), db.Null(s.SlackChannelID), db.Null(s.SlackTeamID), db.Null(s.RunAsUserID),
		db.Null(s.CreatedBy), s.CreatedAt.UnixMilli(), db.NullMillis(s.NextRunAt))
	return err
}

// updateTx writes what a schedule is, unless it changed or ran since it was read.
func updateTx(ctx context.Context, tx *db.Tx, s *Schedule) (bool, error) {
	tags, err := tagsColumn(s.Tags)
	if err != nil {
		return false, err
	}
	n, err := db.Exec(ctx, tx, `UPDATE schedules SET name = $1, prompt = $2, playbook_id = $3, schedule_type = $4, frequency = $5,
			interval_count = $6, scheduled_at = $7, enabled = $8, agent = $9, platform = $10, tags = $11, bypass_approval = $12,
			target_session_id = $13, notify_on = $14, slack_channel_id = $15, slack_team_id = $16, run_as_user_id = $17,
			last_edited_by = $18, updated_at = $19, next_run_at = $20, version = version + 1
		WHERE schedule_id = $21 AND version = $22 AND deleted_at IS NULL`,
		s.Name, s.Prompt, db.Null(s.PlaybookID), string(s.Type), db.Null(s.Frequency), s.IntervalCount, db.NullMillis(s.ScheduledAt),
		db.Bool(s.Enabled), s.Agent, db.Null(s.Platform), tags, db.Bool(s.BypassApproval), db.Null(s.TargetID), string(s.NotifyOn),
		db.Null(s.SlackChannelID), db.Null(s.SlackTeamID), db.Null(s.RunAsUserID), db.Null(s.LastEditedBy), s.UpdatedAt.UnixMilli(),
		db.NullMillis(s.NextRunAt), s.ID, s.version)
	return n > 0, err
}

func read(ctx context.Context, q db.Querier, scheduleID string) (Schedule, error) {
	return db.One(ctx, q, scan, `SELECT `+columns+` FROM schedules WHERE schedule_id = $1 AND deleted_at IS NULL`, scheduleID)
}

const (
	listQuery = `SELECT ` + columns + ` FROM schedules WHERE org_id = $1 AND deleted_at IS NULL
		ORDER BY created_at, schedule_id LIMIT $2 OFFSET $3`
	countQuery = `SELECT COUNT(*) FROM schedules WHERE org_id = $1 AND deleted_at IS NULL`
	dueQuery   = `SELECT ` + columns + ` FROM schedules WHERE next_run_at <= $1 ORDER BY next_run_at, schedule_id LIMIT $2`
)

func list(ctx context.Context, q db.Querier, orgID string, limit, offset int64) ([]Schedule, error) {
	return db.All(ctx, q, scan, listQuery, orgID, limit, offset)
}

func count(ctx context.Context, q db.Querier, orgID string) (int64, error) {
	return db.One(ctx, q, db.Int, countQuery, orgID)
}

func due(ctx context.Context, q db.Querier, now time.Time, limit int) ([]Schedule, error) {
	return db.All(ctx, q, scan, dueQuery, now.UnixMilli(), limit)
}

func endTx(ctx context.Context, tx *db.Tx, scheduleID string, now time.Time) (int64, error) {
	return db.Exec(ctx, tx, `UPDATE schedules SET deleted_at = $1, updated_at = $1, next_run_at = NULL, version = version + 1
		WHERE schedule_id = $2 AND deleted_at IS NULL`, now.UnixMilli(), scheduleID)
}

// advanceTx takes a run that is due, for whoever comes first: the schedule is still as it was read, and goes on to its next time.
func advanceTx(ctx context.Context, tx *db.Tx, s *Schedule, next time.Time) (bool, error) {
	n, err := db.Exec(ctx, tx, `UPDATE schedules SET next_run_at = $1, enabled = $2, version = version + 1
		WHERE schedule_id = $3 AND next_run_at = $4 AND version = $5`,
		db.NullMillis(next), db.Bool(s.Enabled && !next.IsZero()), s.ID, s.NextRunAt.UnixMilli(), s.version)
	return n > 0, err
}

// executedTx notes a run that started.
func executedTx(ctx context.Context, tx *db.Tx, scheduleID, sessionID string, now time.Time) error {
	_, err := db.Exec(ctx, tx, `UPDATE schedules SET last_executed_at = $1, last_session_id = $2 WHERE schedule_id = $3`,
		now.UnixMilli(), sessionID, scheduleID)
	return err
}

// failedTx counts a failure. One of a session counts once, however often it is told.
func failedTx(ctx context.Context, tx *db.Tx, scheduleID, sessionID, message string, now time.Time) (bool, error) {
	n, err := db.Exec(ctx, tx, `UPDATE schedules SET consecutive_failures = consecutive_failures + 1, last_error_at = $1,
			last_error_message = $2, failed_session_id = COALESCE($3, failed_session_id)
		WHERE schedule_id = $4 AND deleted_at IS NULL AND (failed_session_id IS NULL OR $5 = '' OR failed_session_id <> $5)`,
		now.UnixMilli(), message, db.Null(sessionID), scheduleID, sessionID)
	return n > 0, err
}

// succeededTx sets the count back, if the run is the schedule's last one.
func succeededTx(ctx context.Context, tx *db.Tx, scheduleID, sessionID string) error {
	_, err := db.Exec(ctx, tx, `UPDATE schedules SET consecutive_failures = 0, last_error_at = NULL, last_error_message = NULL
		WHERE schedule_id = $1 AND last_session_id = $2 AND last_error_at IS NOT NULL`, scheduleID, sessionID)
	return err
}

// mayMailTx takes the right to send a mail of a failure, which comes once in mailEvery.
func mayMailTx(ctx context.Context, tx *db.Tx, scheduleID string, now time.Time) (bool, error) {
	n, err := db.Exec(ctx, tx, `UPDATE schedules SET failure_mailed_at = $1
		WHERE schedule_id = $2 AND (failure_mailed_at IS NULL OR failure_mailed_at <= $3)`,
		now.UnixMilli(), scheduleID, now.Add(-mailEvery).UnixMilli())
	return n > 0, err
}
