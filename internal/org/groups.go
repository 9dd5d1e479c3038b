package org

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/member"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
)

// Rules of organization groups, from contract/behaviour.md §11.2:
//   - The groups are one map; a change replaces it whole.
//   - An organization is in one group at most. One that is deleted leaves its group.
//   - The limit bounds what the members use together in a billing cycle; 0 blocks, none means unlimited.

// Group is a group of organizations. MaxCycleACUs is in whole ACUs, nil for none; the ids are sorted.
type Group struct {
	OrgIDs       []string
	MaxCycleACUs *int64
}

// Limits on the map of groups.
const (
	maxGroups    = 1000
	maxGroupName = 256 // characters
)

// groupFault names a place in the map. A group's name may hold anything, so the path isn't written with dots.
func groupFault(path []string, format string, args ...any) error {
	msg := fmt.Sprintf(format, args...)
	loc := append([]string{"body", "groups"}, path...)
	return &fault.Error{
		Kind: fault.Invalid, Message: strings.Join(loc[1:], ".") + ": " + msg,
		Fields: []fault.Field{{Loc: loc, Message: msg, Type: "value_error"}},
	}
}

func checkGroups(groups map[string]Group) error {
	if len(groups) > maxGroups {
		return groupFault(nil, "at most %d groups", maxGroups)
	}
	in := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		if n := utf8.RuneCountInString(name); n < 1 || n > maxGroupName || !db.Storable(name) {
			return groupFault(nil, "a group's name must have 1 to %d characters", maxGroupName)
		}
		if !member.Shows(name) {
			return groupFault(nil, "a group's name must not be blank, nor hold control characters")
		}
		g := groups[name]
		if l := g.MaxCycleACUs; l != nil && (*l < 0 || *l > maxLimit) {
			return groupFault([]string{name, "max_cycle_acus"}, "must be from 0 to %d, or null for no limit", int64(maxLimit))
		}
		for i, orgID := range g.OrgIDs {
			at := []string{name, "org_ids", strconv.Itoa(i)}
			switch other, there := in[orgID]; {
			case there && other == name:
				return groupFault(at, "the organization stands here twice")
			case there:
				return groupFault(at, "the organization is in the group %q already; it can be in one only", other)
			}
			in[orgID] = name
		}
	}
	return nil
}

// Groups gives all groups by name. It needs ManageOrganizations.
func (s *Service) Groups(ctx context.Context, sub access.Subject) (map[string]Group, error) {
	if err := access.Require(sub, access.ManageOrganizations, ""); err != nil {
		return nil, err
	}
	return readGroups(ctx, s.db.Reader())
}

// ReplaceGroups puts another map of groups in the place of the whole one. It needs ManageOrganizations; 422 for an organization that
// isn't there or would be in two groups.
func (s *Service) ReplaceGroups(ctx context.Context, sub access.Subject, groups map[string]Group) (map[string]Group, error) {
	if err := access.Require(sub, access.ManageOrganizations, ""); err != nil {
		return nil, err
	}
	if err := checkGroups(groups); err != nil {
		return nil, err
	}
	var out map[string]Group
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := holdGroups(ctx, tx); err != nil {
			return err
		}
		if err := checkMembers(ctx, tx, groups); err != nil {
			return err
		}
		if err := storeGroups(ctx, tx, groups); err != nil {
			return err
		}
		var err error
		if out, err = readGroups(ctx, tx); err != nil {
			return err
		}
		data := map[string]any{}
		for name, g := range out {
			data[name] = map[string]any{"org_ids": g.OrgIDs, "max_cycle_acus": g.MaxCycleACUs}
		}
		return audit.RecordTx(ctx, tx, sub, s.db.Clock().Millis(), audit.Entry{
			Action: audit.SetOrgGroupLimits, Data: map[string]any{"groups": data},
		})
	})
	return out, err
}

// checkMembers refuses organizations that aren't there.
func checkMembers(ctx context.Context, tx *db.Tx, groups map[string]Group) error {
	var all []string
	for _, g := range groups {
		for _, orgID := range g.OrgIDs {
			if db.Storable(orgID) {
				all = append(all, orgID)
			}
		}
	}
	there, err := living(ctx, tx, all)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		for i, orgID := range groups[name].OrgIDs {
			if !there[orgID] {
				return groupFault([]string{name, "org_ids", strconv.Itoa(i)}, "no such organization")
			}
		}
	}
	return nil
}
