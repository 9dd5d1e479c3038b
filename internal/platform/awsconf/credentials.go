package awsconf

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// Where a container's agent serves credentials: on ECS and on EKS. They are the only hosts, besides this one, that may do so over http.
const (
	ecsAgent = "169.254.170.2"
	eksAgent = "169.254.170.23"
	eksSixth = "fd00:ec2::23"
)

// errPerson is the error of a profile that stands for somebody who signed in with a browser.
var errPerson = errors.New("it signs in a person, by AWS SSO or aws login: name one that a server can use, of keys, a role, " +
	"a web identity or a process")

// credentials are found in the order of the SDK's own chain: a profile that the URL names, keys of the environment, a web identity
// (EKS), the profile, the container's agent (ECS, EKS), the machine's role (EC2).
func (s *sources) credentials(ctx context.Context, cfg aws.Config) (aws.CredentialsProvider, error) {
	switch {
	case s.asked.Credentials != nil:
		return aws.NewCredentialsCache(s.asked.Credentials), nil
	case s.asked.SharedConfigProfile != "":
	case s.env.Credentials.HasKeys():
		return static(s.env.Credentials), nil
	case s.env.WebIdentityTokenFilePath != "":
		return s.webIdentity(cfg, s.env.WebIdentityTokenFilePath, s.env.RoleARN, s.env.RoleSessionName)
	}
	return s.ofProfile(ctx, cfg, &s.profile)
}

// ofProfile is what a profile says, or the place that the program runs at when it says nothing.
func (s *sources) ofProfile(ctx context.Context, cfg aws.Config, p *config.SharedConfig) (c aws.CredentialsProvider, err error) {
	switch {
	case p.Source != nil:
		c, err = s.ofProfile(ctx, cfg, p.Source)
	case p.Credentials.HasKeys():
		c = static(p.Credentials)
	case p.CredentialSource != "":
		c, err = s.named(ctx, cfg, p.CredentialSource)
	case p.WebIdentityTokenFile != "":
		return s.webIdentity(cfg, p.WebIdentityTokenFile, p.RoleARN, p.RoleSessionName)
	case p.SSOSessionName+p.SSORegion+p.SSOAccountID+p.SSOStartURL+p.SSORoleName+p.LoginSession != "":
		err = fmt.Errorf("profile %s: %w", p.Profile, errPerson)
	case p.CredentialProcess != "":
		c = aws.NewCredentialsCache(processcreds.NewProvider(p.CredentialProcess))
	case s.inContainer():
		c, err = s.container(ctx)
	default:
		c = machine(cfg)
	}
	if err != nil || p.RoleARN == "" {
		return c, err
	}
	return s.assumed(cfg, c, p)
}

// named is a profile's credential_source.
func (s *sources) named(ctx context.Context, cfg aws.Config, source string) (aws.CredentialsProvider, error) {
	switch source {
	case "Ec2InstanceMetadata":
		return machine(cfg), nil
	case "Environment":
		return static(s.env.Credentials), nil
	case "EcsContainer":
		if !s.inContainer() {
			return nil, errors.New("credential_source is EcsContainer, but neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor " +
				"AWS_CONTAINER_CREDENTIALS_FULL_URI is set")
		}
		return s.container(ctx)
	}
	return nil, errors.New("credential_source is none of EcsContainer, Ec2InstanceMetadata and Environment")
}

func static(c aws.Credentials) aws.CredentialsProvider {
	return aws.NewCredentialsCache(credentials.StaticCredentialsProvider{Value: c})
}

func machine(cfg aws.Config) aws.CredentialsProvider {
	return aws.NewCredentialsCache(ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = imds.NewFromConfig(cfg) }))
}

// sts is the client of the Security Token Service. The endpoint that the URL names is another service's, and STS has its own:
// AWS_ENDPOINT_URL_STS, or the region's.
func (s *sources) sts(cfg aws.Config) *sts.Client {
	asked := s.asked
	asked.BaseEndpoint = ""
	cfg.ConfigSources = []any{asked, s.env, s.profile}
	return sts.NewFromConfig(cfg)
}

// webIdentity trades a token that the platform keeps fresh in a file (IRSA on EKS) for a role.
func (s *sources) webIdentity(cfg aws.Config, file, role, session string) (aws.CredentialsProvider, error) {
	if role == "" {
		return nil, errors.New("a web identity's token is named, and no role: set AWS_ROLE_ARN or role_arn")
	}
	return aws.NewCredentialsCache(stscreds.NewWebIdentityRoleProvider(s.sts(cfg), role, stscreds.IdentityTokenFile(file),
		func(o *stscreds.WebIdentityRoleOptions) { o.RoleSessionName = session })), nil
}

// assumed is the role of a profile, assumed with c.
func (s *sources) assumed(cfg aws.Config, c aws.CredentialsProvider, p *config.SharedConfig) (aws.CredentialsProvider, error) {
	if p.MFASerial != "" {
		return nil, fmt.Errorf("profile %s: mfa_serial asks for a person's code, which a server has nobody to ask for", p.Profile)
	}
	cfg.Credentials = c
	return aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(s.sts(cfg), p.RoleARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = p.RoleSessionName
		if p.ExternalID != "" {
			o.ExternalID = &p.ExternalID
		}
		const least = 15 * time.Minute // what AWS grants
		if d := p.RoleDurationSeconds; d != nil && *d > least {
			o.Duration = *d
		}
	})), nil
}

func (s *sources) inContainer() bool {
	return s.env.ContainerCredentialsRelativePath != "" || s.env.ContainerCredentialsEndpoint != ""
}

// container asks the agent beside the container. Without TLS it may be nowhere but on this host or at an agent's own address: what
// answers there gives the server its identity.
func (s *sources) container(ctx context.Context) (aws.CredentialsProvider, error) {
	at := s.env.ContainerCredentialsEndpoint
	if path := s.env.ContainerCredentialsRelativePath; path != "" {
		at = "http://" + ecsAgent + path
	} else if err := local(ctx, at); err != nil {
		return nil, fmt.Errorf("AWS_CONTAINER_CREDENTIALS_FULL_URI: %w", err)
	}
	provider := endpointcreds.New(at, func(o *endpointcreds.Options) {
		o.AuthorizationToken = s.env.ContainerAuthorizationToken
		if file := os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); file != "" {
			o.AuthorizationTokenProvider = endpointcreds.TokenProviderFunc(func() (string, error) {
				token, err := os.ReadFile(file)
				return string(token), err
			})
		}
	})
	return aws.NewCredentialsCache(provider, func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = 5 * time.Minute }), nil
}

func local(ctx context.Context, address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	host := u.Hostname()
	if host == "" {
		return errors.New("it names no host")
	}
	if u.Scheme != "http" {
		return nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return err
	}
	agents := []netip.Addr{netip.MustParseAddr(ecsAgent), netip.MustParseAddr(eksAgent), netip.MustParseAddr(eksSixth)}
	for _, a := range found {
		if a = a.Unmap(); !a.IsLoopback() && !slices.Contains(agents, a) {
			return fmt.Errorf("%s may not serve credentials over http: only this host and the agents of ECS and EKS may", host)
		}
	}
	return nil
}
