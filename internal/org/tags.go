package org

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
)

// Rules of tags, from contract/behaviour.md §3.13:
//   - An organization's list of allowed tags is kept sorted. Adding merges, replacing puts another list in its place.
//   - The default tag is one of the list, and goes with it.
//   - Sessions must keep to the list only while the enterprise requires tags (Options.RequiredTags); see TagRules.

// Limits on a list of allowed tags.
const (
	MaxTags = 1000
	MaxTag  = 256 // bytes of one tag, as for a session's
)

var errNoTag = fault.New(fault.NotFound, "the organization has no such tag")

func checkTags(tags []string) error {
	for i, t := range tags {
		if strings.TrimSpace(t) == "" || len(t) > MaxTag || !db.Storable(t) {
			return fault.InvalidField(fmt.Sprintf("tags.%d", i), "must have 1 to %d bytes of text", MaxTag)
		}
	}
	return checkCount(tags)
}

func checkCount(tags []string) error {
	if len(tags) > MaxTags {
		return fault.InvalidField("tags", "at most %d tags", MaxTags)
	}
	return nil
}

// sorted gives the tags in the order of their bytes, each once, and never nil.
func sorted(tags []string) []string {
	out := append([]string{}, tags...)
	slices.Sort(out)
	return slices.Compact(out)
}

// Tags lists the tags that an organization allows, sorted. It needs ManageEnterpriseSettings, as all about tags here does.
func (s *Service) Tags(ctx context.Context, sub access.Subject, orgID string) ([]string, error) {
	t, err := s.tagged(ctx, sub, orgID)
	return t.allowed, err
}

// DefaultTag gives the tag that untagged sessions get, empty without one.
func (s *Service) DefaultTag(ctx context.Context, sub access.Subject, orgID string) (string, error) {
	t, err := s.tagged(ctx, sub, orgID)
	return t.def, err
}

func (s *Service) tagged(ctx context.Context, sub access.Subject, orgID string) (tagList, error) {
	if err := access.Require(sub, access.ManageEnterpriseSettings, ""); err != nil {
		return tagList{}, err
	}
	return findTags(ctx, s.db.Reader(), orgID)
}

// AddTags merges tags into the allowed ones and gives the whole list.
func (s *Service) AddTags(ctx context.Context, sub access.Subject, orgID string, tags []string) ([]string, error) {
	return s.writeTags(ctx, sub, orgID, tags, func(t *tagList) error {
		t.allowed = sorted(slices.Concat(t.allowed, tags))
		return nil
	})
}

// ReplaceTags puts another list in the place of the allowed one and gives it. A default tag that isn't in it is cleared.
func (s *Service) ReplaceTags(ctx context.Context, sub access.Subject, orgID string, tags []string) ([]string, error) {
	return s.writeTags(ctx, sub, orgID, tags, func(t *tagList) error {
		t.allowed = sorted(tags)
		return nil
	})
}

// RemoveTag takes one tag off the list, 404 when it isn't there, and gives the rest.
func (s *Service) RemoveTag(ctx context.Context, sub access.Subject, orgID, tag string) ([]string, error) {
	return s.writeTags(ctx, sub, orgID, nil, func(t *tagList) error {
		at := slices.Index(t.allowed, tag)
		if at < 0 {
			return errNoTag
		}
		t.allowed = slices.Delete(t.allowed, at, at+1)
		return nil
	})
}

// SetDefaultTag chooses the default among the allowed tags.
func (s *Service) SetDefaultTag(ctx context.Context, sub access.Subject, orgID, tag string) (string, error) {
	t, err := s.changeTags(ctx, sub, orgID, func(t *tagList) error {
		if !slices.Contains(t.allowed, tag) {
			return fault.InvalidField("tag", "is not among the tags that the organization allows; add it first")
		}
		t.def = tag
		return nil
	})
	return t.def, err
}

// ClearDefaultTag leaves untagged sessions as they are. It is no error when there is no default.
func (s *Service) ClearDefaultTag(ctx context.Context, sub access.Subject, orgID string) error {
	_, err := s.changeTags(ctx, sub, orgID, func(t *tagList) error {
		t.def = ""
		return nil
	})
	return err
}

func (s *Service) writeTags(ctx context.Context, sub access.Subject, orgID string, given []string, change func(*tagList) error) ([]string, error) {
	if err := access.Require(sub, access.ManageEnterpriseSettings, ""); err != nil {
		return nil, err
	}
	if err := checkTags(given); err != nil {
		return nil, err
	}
	t, err := s.changeTags(ctx, sub, orgID, func(t *tagList) error {
		if err := change(t); err != nil {
			return err
		}
		if !slices.Contains(t.allowed, t.def) {
			t.def = ""
		}
		return checkCount(t.allowed)
	})
	return t.allowed, err
}

// tagList is an organization's allowed tags, sorted, and its default, empty without one.
type tagList struct {
	allowed []string
	def     string
}

func (s *Service) changeTags(ctx context.Context, sub access.Subject, orgID string, change func(*tagList) error) (tagList, error) {
	if err := access.Require(sub, access.ManageEnterpriseSettings, ""); err != nil {
		return tagList{}, err
	}
	var t tagList
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		at := s.db.Clock().Millis()
		// The organization's row is taken first: two changes of one list come one after the other.
		if n, err := touch(ctx, tx, orgID, at); err != nil || n == 0 {
			return orNone(err)
		}
		before, err := findTags(ctx, tx, orgID)
		if err != nil {
			return err
		}
		t = tagList{allowed: slices.Clone(before.allowed), def: before.def}
		if err := change(&t); err != nil {
			return err
		}
		if err := storeTags(ctx, tx, orgID, before, t); err != nil {
			return err
		}
		data := map[string]any{"tags": append([]string{}, t.allowed...), "default_tag": nil}
		if t.def != "" {
			data["default_tag"] = t.def
		}
		return audit.RecordTx(ctx, tx, sub, at, audit.Entry{Action: audit.UpdateOrgSettings, OrgID: orgID, Data: data})
	})
	return t, err
}

// TagRules are what an organization asks of its sessions' tags. The zero value asks nothing: the enterprise doesn't require tags, or the
// organization lists none.
type TagRules struct {
	allowed []string
	def     string
}

// TagRulesTx reads an organization's rules within the caller's transaction.
func (s *Service) TagRulesTx(ctx context.Context, q db.Querier, orgID string) (TagRules, error) {
	if !s.o.RequiredTags {
		return TagRules{}, nil
	}
	t, err := findTags(ctx, q, orgID)
	return TagRules(t), err
}

// Fill gives a new session its tags: those that were asked for, or the default.
func (r TagRules) Fill(tags []string) []string {
	if len(tags) == 0 && r.def != "" {
		return []string{r.def}
	}
	return tags
}

// namedTags is how many allowed tags a refusal names.
const namedTags = 20

// Check refuses tags that aren't allowed, by their place in the request.
func (r TagRules) Check(tags []string) error {
	if len(r.allowed) == 0 {
		return nil
	}
	for i, t := range tags {
		if _, ok := slices.BinarySearch(r.allowed, t); !ok {
			return fault.InvalidField(fmt.Sprintf("tags.%d", i), "is not a tag that the organization allows; it allows %s", r.names())
		}
	}
	return nil
}

// Require refuses a session that would be without a tag.
func (r TagRules) Require(tags []string) error {
	if len(r.allowed) > 0 && len(tags) == 0 {
		return fault.InvalidField("tags", "the organization requires a tag; it allows %s", r.names())
	}
	return nil
}

func (r TagRules) names() string {
	names := r.allowed
	if len(names) > namedTags {
		names = append(slices.Clone(names[:namedTags]), fmt.Sprintf("and %d more", len(r.allowed)-namedTags))
	}
	return strings.Join(names, ", ")
}
