package client

import (
	"context"
	"net/http"
	"net/url"
)

// Self is who the key is. OrgID is empty for a key of enterprise scope.
type Self struct {
	PrincipalType   string `json:"principal_type"`
	ServiceUserID   string `json:"service_user_id"`
	ServiceUserName string `json:"service_user_name"`
	UserID          string `json:"user_id"`
	UserName        string `json:"user_name"`
	OrgID           string `json:"org_id"`
}

// Name is the principal's name, its id without one.
func (s Self) Name() string {
	return orElse(orElse(s.ServiceUserName, s.UserName), orElse(s.ServiceUserID, s.UserID))
}

// Self says who the key is.
func (c *Client) Self(ctx context.Context) (Self, error) {
	var s Self
	err := c.Do(ctx, Request{Method: http.MethodGet, Path: "/v3/self"}, &s)
	return s, err
}

// Organization is one organization.
type Organization struct {
	OrgID string `json:"org_id"`
	Name  string `json:"name"`
}

// ListOrganizations gives the first page of the enterprise's organizations.
func (c *Client) ListOrganizations(ctx context.Context) (Page[Organization], error) {
	var p Page[Organization]
	err := c.Do(ctx, Request{Method: http.MethodGet, Path: "/v3/enterprise/organizations"}, &p)
	return p, err
}

// Repository is one repository that sessions may name.
type Repository struct {
	Name string `json:"name"`
	URL  string `json:"url"`
}

// AddRepository registers a repository; the same name and URL again is no error.
func (c *Client) AddRepository(ctx context.Context, r Repository) (Repository, error) {
	b, err := encode(r)
	if err != nil {
		return r, err
	}
	err = c.Do(ctx, Request{Method: http.MethodPost, Path: "/gantry/v1/repositories", Body: b, Create: true}, &r)
	return r, err
}

// Hypervisor is one worker machine. LastHeartbeat is in Unix seconds, 0 when there was none.
type Hypervisor struct {
	HypervisorID string  `json:"hypervisor_id"`
	Name         string  `json:"cloud_provider_instance_id"`
	Status       string  `json:"status"`
	Utilization  float64 `json:"utilization_percentage"`
	LastSeen     int64   `json:"last_heartbeat"`
}

// ListHypervisors gives the first page of the worker machines.
func (c *Client) ListHypervisors(ctx context.Context) (Page[Hypervisor], error) {
	var p Page[Hypervisor]
	err := c.Do(ctx, Request{Method: http.MethodGet, Path: "/v3/enterprise/hypervisors"}, &p)
	return p, err
}

// DrainHypervisor asks a worker to finish what it has and take nothing new.
func (c *Client) DrainHypervisor(ctx context.Context, hypervisorID string) error {
	path := "/gantry/v1/hypervisors/" + url.PathEscape(hypervisorID) + "/drain"
	return c.Do(ctx, Request{Method: http.MethodPost, Path: path, Create: true}, nil)
}
