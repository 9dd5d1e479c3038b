package v3

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/kit"
)

func init() { registrations = append(registrations, registerOrgTags) }

// OrgTagsResponse are the session tags that an organization allows, sorted.
type OrgTagsResponse struct {
	Tags []string `json:"tags"`
}

// OrgTagsRequest gives tags.
type OrgTagsRequest struct {
	Tags []string `json:"tags" maxItems:"1000"`
}

// OrgDefaultTagResponse is the tag that untagged sessions get, null without one.
type OrgDefaultTagResponse struct {
	DefaultTag *string `json:"default_tag"`
}

// OrgDefaultTagRequest chooses the default tag.
type OrgDefaultTagRequest struct {
	Tag string `json:"tag" doc:"One of the allowed tags."`
}

type orgTagsInput struct {
	OrgInput
	Body OrgTagsRequest
}

type orgTagsOutput struct{ Body OrgTagsResponse }

type orgDefaultTagOutput struct{ Body OrgDefaultTagResponse }

func orgTagsAnswer(tags []string, err error) (*orgTagsOutput, error) {
	if err != nil {
		return nil, err
	}
	return &orgTagsOutput{Body: OrgTagsResponse{Tags: kit.List(tags)}}, nil
}

func orgDefaultTagAnswer(tag string, err error) (*orgDefaultTagOutput, error) {
	if err != nil {
		return nil, err
	}
	return &orgDefaultTagOutput{Body: OrgDefaultTagResponse{DefaultTag: kit.NullText(tag)}}, nil
}

func registerOrgTags(a *kit.API, rooms Rooms) {
	op := func(id, method, path, summary, description string) kit.Op {
		return kit.Op{
			Operation: huma.Operation{
				OperationID: id, Method: method, Path: organizationPath + "/tags" + path, Tags: []string{"organization tags"},
				Summary: summary, Description: description, DefaultStatus: http.StatusOK,
			},
			Any: []access.Permission{access.ManageEnterpriseSettings}, Enterprise: true,
		}
	}
	kit.Register(a, op("listOrganizationTags", http.MethodGet, "", "List the session tags an organization allows", "Sorted."),
		func(ctx context.Context, s access.Subject, in *OrgInput) (*orgTagsOutput, error) {
			return orgTagsAnswer(rooms.Orgs.Tags(ctx, s, in.OrgID))
		})
	kit.Register(a, op("addOrganizationTags", http.MethodPost, "", "Allow more session tags", "They are merged into those that are there."),
		func(ctx context.Context, s access.Subject, in *orgTagsInput) (*orgTagsOutput, error) {
			return orgTagsAnswer(rooms.Orgs.AddTags(ctx, s, in.OrgID, in.Body.Tags))
		})
	kit.Register(a, op("replaceOrganizationTags", http.MethodPut, "", "Replace the allowed session tags",
		"A default tag that isn't among them is cleared."),
		func(ctx context.Context, s access.Subject, in *orgTagsInput) (*orgTagsOutput, error) {
			return orgTagsAnswer(rooms.Orgs.ReplaceTags(ctx, s, in.OrgID, in.Body.Tags))
		})
	kit.Register(a, op("clearOrganizationTags", http.MethodDelete, "", "Remove every allowed session tag", "The default tag is cleared with them."),
		func(ctx context.Context, s access.Subject, in *OrgInput) (*orgTagsOutput, error) {
			return orgTagsAnswer(rooms.Orgs.ReplaceTags(ctx, s, in.OrgID, nil))
		})
	kit.Register(a, op("removeOrganizationTag", http.MethodDelete, "/{tag}", "Remove one allowed session tag",
		"A default that was this tag is cleared. The path of a tag named `default` ends in `%64efault`."),
		func(ctx context.Context, s access.Subject, in *struct {
			OrgInput
			Tag string `path:"tag" maxLength:"1024"`
		},
		) (*orgTagsOutput, error) {
			return orgTagsAnswer(rooms.Orgs.RemoveTag(ctx, s, in.OrgID, plainPath(ctx, in.Tag)))
		})
	registerOrgDefaultTag(a, rooms, op)
}

func registerOrgDefaultTag(a *kit.API, rooms Rooms, op func(id, method, path, summary, description string) kit.Op) {
	kit.Register(a, op("getOrganizationDefaultTag", http.MethodGet, "/default", "Read the default session tag", ""),
		func(ctx context.Context, s access.Subject, in *OrgInput) (*orgDefaultTagOutput, error) {
			return orgDefaultTagAnswer(rooms.Orgs.DefaultTag(ctx, s, in.OrgID))
		})
	kit.Register(a, op("setOrganizationDefaultTag", http.MethodPut, "/default", "Choose the default session tag", "It must be an allowed one."),
		func(ctx context.Context, s access.Subject, in *struct {
			OrgInput
			Body OrgDefaultTagRequest
		},
		) (*orgDefaultTagOutput, error) {
			return orgDefaultTagAnswer(rooms.Orgs.SetDefaultTag(ctx, s, in.OrgID, in.Body.Tag))
		})
	kit.Register(a, op("clearOrganizationDefaultTag", http.MethodDelete, "/default", "Clear the default session tag", ""),
		func(ctx context.Context, s access.Subject, in *OrgInput) (*orgDefaultTagOutput, error) {
			return orgDefaultTagAnswer("", rooms.Orgs.ClearDefaultTag(ctx, s, in.OrgID))
		})
}
