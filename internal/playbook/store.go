package playbook

import (
	"context"
	"database/sql"
	"encoding/json"

	"gantry/internal/platform/db"
	"gantry/internal/platform/page"
)

const columns = `playbook_id, org_id, created_at, updated_at, created_by, updated_by, macro, title, structured_output_schema, body`

func scan(r db.Scanner) (Playbook, error) {
	var p Playbook
	var schema sql.NullString
	err := r.Scan(&p.ID, &p.OrgID, db.OrZero(&p.CreatedAt), db.OrZero(&p.UpdatedAt), &p.CreatedBy, &p.UpdatedBy, db.OrEmpty(&p.Macro), &p.Title,
		&schema, &p.Body)
	p.Schema = raw(schema)
	return p, err
}

func raw(s sql.NullString) json.RawMessage {
	if !s.Valid {
		return nil
	}
	return json.RawMessage(s.String)
}

func nullRaw(r json.RawMessage) sql.NullString {
	return sql.NullString{String: string(r), Valid: r != nil}
}

func read(ctx context.Context, q db.Querier, playbookID string) (Playbook, error) {
	return db.One(ctx, q, scan, `SELECT `+columns+` FROM playbooks WHERE playbook_id = $1`, playbookID)
}

// place is where in a list of two parts a playbook stands: an organization's own come before the enterprise's.
func place(listOrg, itsOrg string) int64 {
	if listOrg != "" && itsOrg == "" {
		return 1
	}
	return 0
}

// list reads one page and gives it with the request that Cut needs: a page of long playbooks ends early.
func list(ctx context.Context, q db.Querier, orgID string, r page.Request) ([]Playbook, page.Request, error) {
	var rows []Playbook
	size, part := 0, int64(0)
	if r.After != nil {
		part, _ = r.After[0].(int64) // a sealed position is what List made
	}
	enough := func(p Playbook) bool { size += len(p.Body) + len(p.Schema); return size > pageBytes }
	for ; part <= 1; part++ {
		scope := orgID
		if part == 1 {
			if orgID == "" {
				break // the enterprise's list has one part
			}
			scope = ""
		}
		after := r.After
		if after != nil && after[0] != part {
			after = nil
		}
		query, args := pageQuery(scope, after, r.Limit()-len(rows))
		more, err := db.AllUntil(ctx, q, scan, enough, query, args...)
		if err != nil {
			return nil, r, err
		}
		rows = append(rows, more...)
		if size > pageBytes {
			r.First = min(r.First, len(rows)-1) // the last one read waits for the next page
			break
		}
		if len(rows) == r.Limit() {
			break
		}
	}
	return rows, r, nil
}

func pageQuery(scope string, after page.Position, limit int) (string, []any) {
	var w db.Where
	w.Add("org_id = ?", scope)
	if after != nil {
		w.Add("(created_at, playbook_id) > (?, ?)", after[1], after[2])
	}
	where := w.SQL()
	return `SELECT ` + columns + ` FROM playbooks` + where + ` ORDER BY created_at, playbook_id ` + w.Number("LIMIT ?", limit), w.Args()
}

func count(ctx context.Context, q db.Querier, orgID string) (int64, error) {
	return db.One(ctx, q, db.Int, `SELECT COUNT(*) FROM playbooks WHERE org_id = $1`, orgID)
}

func insert(ctx context.Context, tx *db.Tx, p Playbook) error {
	_, err := db.Exec(ctx, tx, `INSERT INTO playbooks (playbook_id, org_id, created_at, updated_at, created_by, updated_by, macro, title, size,
			hash, structured_output_schema, body)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		p.ID, p.OrgID, p.CreatedAt.UnixMilli(), p.UpdatedAt.UnixMilli(), p.CreatedBy, p.UpdatedBy, db.Null(p.Macro), p.Title, len(p.Body),
		hashOf(p.Body), nullRaw(p.Schema), p.Body)
	return err
}

func touch(ctx context.Context, tx *db.Tx, playbookID, orgID string) error {
	_, err := db.Exec(ctx, tx, `UPDATE playbooks SET updated_at = updated_at WHERE playbook_id = $1 AND org_id = $2`, playbookID, orgID)
	return err
}

func update(ctx context.Context, tx *db.Tx, p Playbook) error {
	_, err := db.Exec(ctx, tx, `UPDATE playbooks SET updated_at = $1, updated_by = $2, macro = $3, title = $4, size = $5, hash = $6,
			structured_output_schema = $7, body = $8
		WHERE playbook_id = $9`,
		p.UpdatedAt.UnixMilli(), p.UpdatedBy, db.Null(p.Macro), p.Title, len(p.Body), hashOf(p.Body), nullRaw(p.Schema), p.Body, p.ID)
	return err
}

func remove(ctx context.Context, tx *db.Tx, playbookID string) (int64, error) {
	return db.Exec(ctx, tx, `DELETE FROM playbooks WHERE playbook_id = $1`, playbookID)
}
