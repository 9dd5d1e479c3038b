package knowledge

import (
	"cmp"
	"context"
	"strings"

	"gantry/internal/platform/db"
	"gantry/internal/platform/page"
)

const columns = `n.note_id, n.org_id, n.created_at, n.updated_at, n.folder_id, f.path, n.is_enabled, n.pinned_repo, n.macro, n.name,
	n.trigger_text, n.body`

// from joins a note with its folder.
const from = ` FROM knowledge_notes n LEFT JOIN knowledge_folders f ON f.folder_id = n.folder_id`

// alive leaves out the notes of organizations that were deleted.
const alive = `NOT EXISTS (SELECT 1 FROM organizations o WHERE o.org_id = n.org_id AND o.deleted_at IS NOT NULL)`

func scan(r db.Scanner) (Note, error) {
	var n Note
	err := r.Scan(&n.ID, &n.OrgID, db.OrZero(&n.CreatedAt), db.OrZero(&n.UpdatedAt), db.OrEmpty(&n.FolderID), db.OrEmpty(&n.FolderPath), &n.Enabled,
		db.OrEmpty(&n.PinnedRepo), db.OrEmpty(&n.Macro), &n.Name, &n.Trigger, &n.Body)
	n.FolderPath = cmp.Or(n.FolderPath, rootPath)
	return n, err
}

func read(ctx context.Context, q db.Querier, noteID string) (Note, error) {
	return db.One(ctx, q, scan, `SELECT `+columns+from+` WHERE n.note_id = $1 AND `+alive, noteID)
}

// place is where in a list of two parts a note stands: an organization's own come before the enterprise's.
func place(listOrg, noteOrg string) int64 {
	if listOrg != "" && noteOrg == "" {
		return 1
	}
	return 0
}

// list reads one page and gives it with the request that Cut needs: a page of long notes ends early.
func list(ctx context.Context, q db.Querier, f Filter, r page.Request) ([]Note, page.Request, error) {
	var rows []Note
	size, part := 0, int64(0)
	if r.After != nil {
		part, _ = r.After[0].(int64) // a sealed position is what List made
	}
	enough := func(n Note) bool { size += len(n.Body); return size > pageBytes }
	for ; part <= 1; part++ {
		if f.OrgID == "" && part == 1 {
			break // the enterprise's list has one part
		}
		after := r.After
		if after != nil && after[0] != part {
			after = nil
		}
		query, args := f.query(part, after, r.Limit()-len(rows))
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

// query reads one part of a list: part 0 the organization's own notes, or all of the enterprise's route; part 1 the enterprise's.
func (f *Filter) query(part int64, after page.Position, limit int) (string, []any) {
	var w db.Where
	scope := f.OrgID
	if part == 1 {
		scope = ""
	}
	everywhere := f.OrgID == "" && f.AccessType != AccessEnterprise
	if everywhere {
		w.Add(alive)
		if f.AccessType == AccessOrg {
			w.Add("n.org_id <> ''")
		}
	} else {
		w.Add("n.org_id = ?", scope)
	}
	if f.FolderPath == rootPath {
		w.Add("n.folder_id IS NULL")
	} else if f.FolderPath != "" {
		if everywhere {
			// A path is another folder in each organization: SQLite, which keeps no count of them, looks at the notes in the list's order.
			w.Add("EXISTS (SELECT 1 FROM knowledge_folders x WHERE x.folder_id = n.folder_id AND x.path = ?)", f.FolderPath)
		} else {
			w.Add("n.folder_id IN (SELECT x.folder_id FROM knowledge_folders x WHERE x.path = ? AND x.org_id = ?)", f.FolderPath, scope)
		}
	}
	if f.PinnedRepo != "" {
		pinned := "n.pinned_repo = ?"
		if !everywhere {
			pinned = "COALESCE(n.pinned_repo, '') = ?" // one organization's notes are fewer than everybody's that are pinned to a repository
		}
		w.Add(pinned, f.PinnedRepo)
	}
	if f.Search != "" {
		w.Add(`n.folded LIKE ? ESCAPE '\'`, "%"+escapeLike.Replace(strings.ToLower(f.Search))+"%")
	}
	if after != nil {
		w.Add("(n.created_at, n.note_id) > (?, ?)", after[1], after[2])
	}
	where := w.SQL()
	return `SELECT ` + columns + from + where + ` ORDER BY n.created_at, n.note_id ` + w.Number("LIMIT ?", limit), w.Args()
}

var escapeLike = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

func countNotes(ctx context.Context, q db.Querier, orgID string) (int64, error) {
	return db.One(ctx, q, db.Int, `SELECT COUNT(*) FROM knowledge_notes WHERE org_id = $1`, orgID)
}

func insert(ctx context.Context, tx *db.Tx, n Note) error {
	_, err := db.Exec(ctx, tx, `INSERT INTO knowledge_notes (note_id, org_id, created_at, updated_at, folder_id, is_enabled, pinned_repo,
			macro, name, trigger_text, size, hash, body, folded)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		n.ID, n.OrgID, n.CreatedAt.UnixMilli(), n.UpdatedAt.UnixMilli(), db.Null(n.FolderID), db.Bool(n.Enabled), db.Null(n.PinnedRepo),
		db.Null(n.Macro), n.Name, n.Trigger, len(n.Body), hashOf(n.Body), n.Body, folded(n))
	return err
}

func update(ctx context.Context, tx *db.Tx, n Note) error {
	changed, err := db.Exec(ctx, tx, `UPDATE knowledge_notes SET updated_at = $1, folder_id = $2, is_enabled = $3, pinned_repo = $4, macro = $5,
			name = $6, trigger_text = $7, size = $8, hash = $9, body = $10, folded = $11
		WHERE note_id = $12`,
		n.UpdatedAt.UnixMilli(), db.Null(n.FolderID), db.Bool(n.Enabled), db.Null(n.PinnedRepo), db.Null(n.Macro), n.Name, n.Trigger,
		len(n.Body), hashOf(n.Body), n.Body, folded(n), n.ID)
	if err == nil && changed == 0 {
		return errNone
	}
	return err
}

func remove(ctx context.Context, tx *db.Tx, noteID string) (int64, error) {
	return db.Exec(ctx, tx, `DELETE FROM knowledge_notes WHERE note_id = $1`, noteID)
}
