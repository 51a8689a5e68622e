// An OpenID provider for tests: zitadel/oidc, a certified library, with two users, groups, and keys that rotate.
package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// users adds groups to what the library's example storage says of a user, and signs with the newest key.
type users struct {
	*storage.Storage
	mutex sync.Mutex
	keys  []*key
}

type key struct {
	id      string
	private *rsa.PrivateKey
}

func (k *key) ID() string                                  { return k.id }
func (k *key) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }

type signing struct{ *key }

func (k signing) Key() any { return k.private }

type public struct{ *key }

func (k public) Key() any                          { return &k.private.PublicKey }
func (k public) Algorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k public) Use() string                       { return "sig" }

func (u *users) rotate() {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	u.mutex.Lock()
	defer u.mutex.Unlock()
	u.keys = []*key{{id: fmt.Sprintf("key-%x", private.N.Bytes()[:8]), private: private}}
}

func (u *users) SigningKey(context.Context) (op.SigningKey, error) {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	return signing{u.keys[0]}, nil
}

func (u *users) KeySet(context.Context) ([]op.Key, error) {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	return []op.Key{public{u.keys[0]}}, nil
}

func (u *users) SetUserinfoFromToken(ctx context.Context, info *oidc.UserInfo, token, subject, origin string) error {
	if err := u.Storage.SetUserinfoFromToken(ctx, info, token, subject, origin); err != nil {
		return err
	}
	if subject == "id1" {
		info.AppendClaims("groups", []string{"researchers", "admin"})
	}
	return nil
}

// Arguments: the client's id, its secret, and where it wants browsers sent back to. Writes its address first.
func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	issuer := fmt.Sprintf("http://localhost:%d", listener.Addr().(*net.TCPAddr).Port)
	storage.RegisterClients(storage.WebClient(os.Args[1], os.Args[2], os.Args[3]))
	store := &users{Storage: storage.NewStorage(storage.NewUserStore(issuer))}
	store.rotate()
	router := exampleop.SetupServer(issuer, store, slog.New(slog.NewTextHandler(io.Discard, nil)), false)
	router.Post("/rotate", func(http.ResponseWriter, *http.Request) { store.rotate() })
	fmt.Println(issuer)
	panic(http.Serve(listener, router))
}
