package playbook

import (
	"context"

	"gantry/internal/platform/db"
)

// Titles gives the titles of playbooks for a list that shows them. One that is gone by now is missing. It authorises nobody.
func (s *Service) Titles(ctx context.Context, ids []string) (map[string]string, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var w db.Where
	w.In("playbook_id", ids)
	where := w.SQL()
	out := make(map[string]string, len(ids))
	_, err := db.All(ctx, s.db.Reader(), func(r db.Scanner) (struct{}, error) {
		var playbookID, title string
		err := r.Scan(&playbookID, &title)
		out[playbookID] = title
		return struct{}{}, err
	}, `SELECT playbook_id, title FROM playbooks`+where, w.Args()...)
	return out, err
}
