package knowledge

import (
	"context"
	"errors"

	"gantry/internal/platform/db"
)

func scanFolder(r db.Scanner) (Folder, error) {
	var f Folder
	return f, r.Scan(&f.ID, &f.OrgID, db.OrEmpty(&f.ParentID), &f.Name, &f.Path, &f.Enabled, &f.Live, db.OrZero(&f.CreatedAt), db.OrZero(&f.UpdatedAt))
}

func readFolders(ctx context.Context, q db.Querier, orgID string) ([]Folder, error) {
	folders, err := db.All(ctx, q, scanFolder, `SELECT folder_id, org_id, parent_id, name, path, is_enabled, is_live, created_at, updated_at
		FROM knowledge_folders WHERE org_id = $1`, orgID)
	sortFolders(folders)
	return folders, err
}

// holdFoldersTx reads the folders of a scope and keeps them for this transaction: what a folder's switch means depends on all around it.
func holdFoldersTx(ctx context.Context, tx *db.Tx, orgID string) ([]Folder, error) {
	if tx.Engine() == db.Postgres { // SQLite has one writer at a time; in one order nobody waits in a circle
		if _, err := db.All(ctx, tx, db.Text, `SELECT folder_id FROM knowledge_folders WHERE org_id = $1 ORDER BY folder_id FOR UPDATE`, orgID); err != nil {
			return nil, err
		}
	}
	return readFolders(ctx, tx, orgID)
}

// holdFolderTx gives the path of a note's folder, which stays until the transaction ends.
func holdFolderTx(ctx context.Context, tx *db.Tx, orgID, folderID string) (string, error) {
	if folderID == "" {
		return rootPath, nil
	}
	path, err := db.One(ctx, tx, db.Text, `UPDATE knowledge_folders SET updated_at = updated_at WHERE folder_id = $1 AND org_id = $2
		RETURNING path`, folderID, orgID)
	if errors.Is(err, db.ErrNone) {
		return "", errFolder
	}
	return path, err
}

// countNotesIn fills in how many notes each folder has and gives how many are in none.
func countNotesIn(ctx context.Context, q db.Querier, orgID string, folders []Folder) (root int64, err error) {
	type count struct {
		folder string
		notes  int64
	}
	rows, err := db.All(ctx, q, func(r db.Scanner) (c count, err error) {
		err = r.Scan(&c.folder, &c.notes)
		return c, err
	}, `SELECT COALESCE(folder_id, ''), COUNT(*) FROM knowledge_notes WHERE org_id = $1 GROUP BY folder_id`, orgID)
	if err != nil {
		return 0, err
	}
	notes := make(map[string]int64, len(rows))
	for _, c := range rows {
		notes[c.folder] = c.notes
	}
	for i := range folders {
		folders[i].Notes = notes[folders[i].ID]
	}
	return notes[""], nil
}

func insertFolder(ctx context.Context, tx *db.Tx, f Folder) error {
	_, err := db.Exec(ctx, tx, `INSERT INTO knowledge_folders (folder_id, org_id, parent_id, name, path, is_enabled, is_live, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		f.ID, f.OrgID, db.Null(f.ParentID), f.Name, f.Path, db.Bool(f.Enabled), db.Bool(f.Live), f.CreatedAt.UnixMilli(), f.UpdatedAt.UnixMilli())
	return err
}

func updateFolder(ctx context.Context, tx *db.Tx, f Folder) error {
	_, err := db.Exec(ctx, tx, `UPDATE knowledge_folders SET name = $1, path = $2, is_enabled = $3, is_live = $4, updated_at = $5
		WHERE folder_id = $6`, f.Name, f.Path, db.Bool(f.Enabled), db.Bool(f.Live), f.UpdatedAt.UnixMilli(), f.ID)
	return err
}

func removeFolder(ctx context.Context, tx *db.Tx, folderID string) error {
	_, err := db.Exec(ctx, tx, `DELETE FROM knowledge_folders WHERE folder_id = $1`, folderID)
	return err
}
