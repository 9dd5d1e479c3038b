package org

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"gantry/internal/platform/db"
)

// findTags reads a live organization's tags. They are sorted here, because engines differ in how they sort text.
func findTags(ctx context.Context, q db.Querier, orgID string) (tagList, error) {
	def, err := db.One(ctx, q, func(s db.Scanner) (sql.NullString, error) {
		var v sql.NullString
		return v, s.Scan(&v)
	}, `SELECT default_tag FROM organizations WHERE org_id = $1 AND deleted_at IS NULL`, orgID)
	if errors.Is(err, db.ErrNone) {
		return tagList{}, errNone
	}
	if err != nil {
		return tagList{}, err
	}
	tags, err := db.All(ctx, q, db.Text, `SELECT tag FROM org_tags WHERE org_id = $1`, orgID)
	slices.Sort(tags)
	return tagList{allowed: tags, def: def.String}, err
}

// storeTags writes what changed from before to after.
func storeTags(ctx context.Context, tx *db.Tx, orgID string, before, after tagList) error {
	for _, t := range before.allowed {
		if _, kept := slices.BinarySearch(after.allowed, t); kept {
			continue
		}
		if _, err := db.Exec(ctx, tx, `DELETE FROM org_tags WHERE org_id = $1 AND tag = $2`, orgID, t); err != nil {
			return err
		}
	}
	for _, t := range after.allowed {
		if _, there := slices.BinarySearch(before.allowed, t); there {
			continue
		}
		if _, err := db.Exec(ctx, tx, `INSERT INTO org_tags (org_id, tag) VALUES ($1, $2)`, orgID, t); err != nil {
			return err
		}
	}
	if before.def == after.def {
		return nil
	}
	_, err := db.Exec(ctx, tx, `UPDATE organizations SET default_tag = $1 WHERE org_id = $2`, db.Null(after.def), orgID)
	return err
}
