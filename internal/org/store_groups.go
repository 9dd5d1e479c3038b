package org

import (
	"context"
	"database/sql"
	"maps"
	"slices"

	"gantry/internal/platform/db"
)

// listed is how many ids one statement takes.
const listed = 500

// living says which of the organizations are there.
func living(ctx context.Context, tx *db.Tx, orgIDs []string) (map[string]bool, error) {
	there := map[string]bool{}
	for some := range slices.Chunk(orgIDs, listed) {
		var w db.Where
		w.In("org_id", some)
		w.Add("deleted_at IS NULL")
		found, err := db.All(ctx, tx, db.Text, `SELECT org_id FROM organizations`+w.SQL(), w.Args()...)
		if err != nil {
			return nil, err
		}
		for _, orgID := range found {
			there[orgID] = true
		}
	}
	return there, nil
}

// holdGroups lets one change of the groups follow the other: the row is locked until the transaction ends.
func holdGroups(ctx context.Context, tx *db.Tx) error {
	_, err := db.Exec(ctx, tx, `INSERT INTO settings (name, value) VALUES ('org_groups', '1')
		ON CONFLICT (name) DO UPDATE SET value = excluded.value`)
	return err
}

func storeGroups(ctx context.Context, tx *db.Tx, groups map[string]Group) error {
	for _, statement := range []string{`DELETE FROM org_group_members`, `DELETE FROM org_groups`} {
		if _, err := db.Exec(ctx, tx, statement); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		g := groups[name]
		if _, err := db.Exec(ctx, tx, `INSERT INTO org_groups (name, max_cycle_acus) VALUES ($1, $2)`, name, g.MaxCycleACUs); err != nil {
			return err
		}
		for _, orgID := range g.OrgIDs {
			if _, err := db.Exec(ctx, tx, `INSERT INTO org_group_members (org_id, group_name) VALUES ($1, $2)`, orgID, name); err != nil {
				return err
			}
		}
	}
	return nil
}

func readGroups(ctx context.Context, q db.Querier) (map[string]Group, error) {
	type line struct {
		name  string
		limit sql.NullInt64
		orgID sql.NullString
	}
	lines, err := db.All(ctx, q, func(s db.Scanner) (line, error) {
		var l line
		return l, s.Scan(&l.name, &l.limit, &l.orgID)
	}, `SELECT g.name, g.max_cycle_acus, o.org_id FROM org_groups g LEFT JOIN org_group_members m ON m.group_name = g.name
		LEFT JOIN organizations o ON o.org_id = m.org_id AND o.deleted_at IS NULL`)
	if err != nil {
		return nil, err
	}
	out := map[string]Group{}
	for _, l := range lines {
		g, seen := out[l.name]
		if !seen {
			g = Group{OrgIDs: []string{}, MaxCycleACUs: nullable(l.limit)}
		}
		if l.orgID.Valid {
			g.OrgIDs = append(g.OrgIDs, l.orgID.String)
		}
		out[l.name] = g
	}
	for _, g := range out {
		slices.Sort(g.OrgIDs)
	}
	return out, nil
}

// leaveGroup takes a deleted organization out of its group.
func leaveGroup(ctx context.Context, tx *db.Tx, orgID string) error {
	_, err := db.Exec(ctx, tx, `DELETE FROM org_group_members WHERE org_id = $1`, orgID)
	return err
}
