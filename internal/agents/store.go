package agents

import (
	"context"
	"database/sql"
	"encoding/json"

	"gantry/internal/platform/db"
)

const columns = `name, command, binds, modes, orgs, is_default, created_at, sealed_env`

type row struct {
	Agent
	sealed []byte
}

func scan(s db.Scanner) (row, error) {
	var r row
	var command, binds, modes string
	var orgs sql.NullString
	var isDefault, at int64
	if err := s.Scan(&r.Name, &command, &binds, &modes, &orgs, &isDefault, &at, &r.sealed); err != nil {
		return r, err
	}
	r.Default, r.CreatedAt = isDefault == 1, db.Time(at)
	for _, c := range []struct {
		text string
		to   *[]string
	}{{command, &r.Command}, {binds, &r.Binds}, {modes, &r.Modes}} {
		if err := json.Unmarshal([]byte(c.text), c.to); err != nil {
			return r, err
		}
	}
	if orgs.Valid {
		return r, json.Unmarshal([]byte(orgs.String), &r.Orgs)
	}
	return r, nil
}

func encode(list []string) (string, error) {
	if list == nil {
		list = []string{}
	}
	b, err := json.Marshal(list)
	return string(b), err
}

func insert(ctx context.Context, tx *db.Tx, a Agent, sealed []byte) error {
	var orgs sql.NullString
	var columns [3]string
	for i, list := range [][]string{a.Command, a.Binds, a.Modes} {
		text, err := encode(list)
		if err != nil {
			return err
		}
		columns[i] = text
	}
	if a.Orgs != nil {
		text, err := encode(a.Orgs)
		if err != nil {
			return err
		}
		orgs = db.Null(text)
	}
	_, err := db.Exec(ctx, tx, `INSERT INTO agents (name, command, sealed_env, binds, modes, orgs, is_default, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		a.Name, columns[0], sealed, columns[1], columns[2], orgs, db.Bool(a.Default), a.CreatedAt.UnixMilli())
	return err
}

func remove(ctx context.Context, tx *db.Tx, name string) (int64, error) {
	return db.Exec(ctx, tx, `DELETE FROM agents WHERE name = $1`, name)
}

func clearDefault(ctx context.Context, tx *db.Tx) error {
	_, err := db.Exec(ctx, tx, `UPDATE agents SET is_default = 0 WHERE is_default = 1`)
	return err
}

func setDefault(ctx context.Context, tx *db.Tx, name string) (int64, error) {
	return db.Exec(ctx, tx, `UPDATE agents SET is_default = 1 WHERE name = $1`, name)
}

// list reads all agents by name: an operator configures a handful.
func list(ctx context.Context, q db.Querier) ([]Agent, error) {
	rows, err := db.All(ctx, q, scan, `SELECT `+columns+` FROM agents ORDER BY name`)
	out := make([]Agent, len(rows))
	for i, r := range rows {
		out[i] = r.Agent
	}
	return out, err
}

func read(ctx context.Context, q db.Querier, name string) (Agent, []byte, error) {
	r, err := db.One(ctx, q, scan, `SELECT `+columns+` FROM agents WHERE name = $1`, name)
	return r.Agent, r.sealed, err
}
