package older

import (
	"context"

	"gantry/internal/member"
	"gantry/internal/playbook"
)

// PlaybookAuthors say who made and who changed a playbook, by id and e-mail address. They are null unless it was a person.
type PlaybookAuthors struct {
	CreatedByUserID   *string `json:"created_by_user_id"`
	CreatedByUserName *string `json:"created_by_user_name"`
	UpdatedByUserID   *string `json:"updated_by_user_id"`
	UpdatedByUserName *string `json:"updated_by_user_name"`
}

// Playbooks writes playbooks together with their authors.
func Playbooks[T any](ctx context.Context, members *member.Service, all []playbook.Playbook, wire func(playbook.Playbook, PlaybookAuthors) T) ([]T, error) {
	ids := make([]string, 0, 2*len(all))
	for _, p := range all {
		ids = append(ids, p.CreatedBy, p.UpdatedBy)
	}
	people, err := members.Emails(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := make([]T, len(all))
	for i, p := range all {
		var a PlaybookAuthors
		if name, ok := people[p.CreatedBy]; ok {
			a.CreatedByUserID, a.CreatedByUserName = &p.CreatedBy, &name
		}
		if name, ok := people[p.UpdatedBy]; ok {
			a.UpdatedByUserID, a.UpdatedByUserName = &p.UpdatedBy, &name
		}
		out[i] = wire(p, a)
	}
	return out, nil
}
