package v1

import (
	"context"
	"net/http"

	"gantry/internal/access"
	"gantry/internal/api/older"
	"gantry/internal/kit"
	"gantry/internal/platform/page"
	"gantry/internal/playbook"
)

func init() { registrations = append(registrations, registerPlaybooks) }

// PlaybookParams are a whole playbook. To rewrite one, a macro that is left out stays and null clears it.
type PlaybookParams struct {
	Title string               `json:"title" minLength:"1" maxLength:"256"`
	Body  string               `json:"body" minLength:"1"`
	Macro kit.Optional[string] `json:"macro,omitempty"`
}

func (b PlaybookParams) params(ctx context.Context, id string) playbook.Params {
	p := playbook.Params{OrgID: kit.Org(ctx), PlaybookID: id, Title: b.Title, Body: b.Body}
	if b.Macro.Set {
		p.Macro = new(b.Macro.Or(""))
	}
	return p
}

// PlaybookResponse is a playbook. Those who made and changed it are named when they are people.
type PlaybookResponse struct {
	PlaybookID string  `json:"playbook_id"`
	OrgID      string  `json:"org_id" doc:"Empty for a playbook of the enterprise."`
	Title      string  `json:"title"`
	Body       string  `json:"body"`
	Macro      *string `json:"macro"`
	AccessType string  `json:"access_type" doc:"team, or enterprise."`
	Status     string  `json:"status" doc:"published."`
	CreatedAt  *string `json:"created_at"`
	UpdatedAt  *string `json:"updated_at"`
	older.PlaybookAuthors
}

func playbookOf(p playbook.Playbook, by older.PlaybookAuthors) PlaybookResponse {
	out := PlaybookResponse{
		PlaybookID: p.ID, OrgID: p.OrgID, Title: p.Title, Body: p.Body, Macro: kit.NullText(p.Macro), AccessType: "team", Status: "published",
		CreatedAt: older.NullTime(p.CreatedAt), UpdatedAt: older.NullTime(p.UpdatedAt), PlaybookAuthors: by,
	}
	if p.AccessType() == playbook.AccessEnterprise {
		out.AccessType = "enterprise"
	}
	return out
}

// StatusResponse says that it was done.
type StatusResponse struct {
	Status string `json:"status"`
}

type statusOutput struct{ Body StatusResponse }

func success(err error) (*statusOutput, error) {
	if err != nil {
		return nil, err
	}
	return &statusOutput{Body: StatusResponse{Status: "success"}}, nil
}

type playbookOutput struct{ Body PlaybookResponse }

type playbooksOutput struct{ Body []PlaybookResponse }

// PlaybookPath names a playbook.
type PlaybookPath struct {
	PlaybookID string `path:"playbook_id" maxLength:"256"`
}

const playbooksSuccessor = "/v3/organizations/{org_id}/playbooks"

func registerPlaybooks(a *kit.API, rooms Rooms) {
	const one = "/playbooks/{playbook_id}"
	may := []access.Permission{access.ManageOrgPlaybooks}
	kit.Register(a, op("listPlaybooks", http.MethodGet, "/playbooks", "List playbooks", "GET "+playbooksSuccessor, may...),
		func(ctx context.Context, who access.Subject, _ *struct{}) (*playbooksOutput, error) {
			all, err := older.All(func(r page.Request) (page.Page[playbook.Playbook], error) {
				return rooms.Playbooks.List(ctx, who, kit.Org(ctx), r)
			})
			if err != nil {
				return nil, err
			}
			out, err := older.Playbooks(ctx, rooms.Members, all, playbookOf)
			return &playbooksOutput{Body: out}, err
		})

	type createInput struct{ Body PlaybookParams }
	create := op("createPlaybook", http.MethodPost, "/playbooks", "Make a playbook", "POST "+playbooksSuccessor, may...)
	create.Creates = true
	kit.Register(a, create, func(ctx context.Context, who access.Subject, in *createInput) (*playbookOutput, error) {
		p, err := rooms.Playbooks.Create(ctx, who, in.Body.params(ctx, ""))
		return rooms.playbook(ctx, p, err)
	})
	kit.Register(a, op("getPlaybook", http.MethodGet, one, "Read a playbook", "GET "+playbooksSuccessor+"/{playbook_id}", may...),
		func(ctx context.Context, who access.Subject, in *PlaybookPath) (*playbookOutput, error) {
			p, err := rooms.Playbooks.Get(ctx, who, kit.Org(ctx), in.PlaybookID)
			return rooms.playbook(ctx, p, err)
		})
	type updateInput struct {
		PlaybookPath
		Body PlaybookParams
	}
	kit.Register(a, op("updatePlaybook", http.MethodPut, one, "Rewrite a playbook", "PUT "+playbooksSuccessor+"/{playbook_id}", may...),
		func(ctx context.Context, who access.Subject, in *updateInput) (*statusOutput, error) {
			_, err := rooms.Playbooks.Update(ctx, who, in.Body.params(ctx, in.PlaybookID))
			return success(err)
		})
	kit.Register(a, op("deletePlaybook", http.MethodDelete, one, "Delete a playbook", "DELETE "+playbooksSuccessor+"/{playbook_id}", may...),
		func(ctx context.Context, who access.Subject, in *PlaybookPath) (*statusOutput, error) {
			_, err := rooms.Playbooks.Delete(ctx, who, kit.Org(ctx), in.PlaybookID)
			return success(err)
		})
}

func (r Rooms) playbook(ctx context.Context, p playbook.Playbook, err error) (*playbookOutput, error) {
	if err != nil {
		return nil, err
	}
	one, err := older.Playbooks(ctx, r.Members, []playbook.Playbook{p}, playbookOf)
	if err != nil {
		return nil, err
	}
	return &playbookOutput{Body: one[0]}, nil
}
