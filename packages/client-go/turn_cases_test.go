package bolthole_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	pb "github.com/bolthole/bolthole-go/boltholepb"
)

type turnStep struct {
	Name, RPC         string
	Request, Response map[string]any
	Refused           string
	Save              map[string]string
}

// TestTheSharedTurn plays packages/conformance/cases/turn.json over the generated messages.
func TestTheSharedTurn(t *testing.T) {
	var file struct{ Steps []turnStep }
	text, err := os.ReadFile("../conformance/cases/turn.json")
	if os.IsNotExist(err) {
		t.Skip("the shared cases are only in the checkout")
	}
	if err != nil || json.Unmarshal(text, &file) != nil || len(file.Steps) == 0 {
		t.Fatalf("expected steps, found %v", err)
	}
	d := startDaemon(t)
	store := d.connect()
	channel, err := grpc.NewClient("unix:"+d.socket(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer channel.Close()
	known := map[string]string{}
	for _, step := range file.Steps {
		filled := func(value any) any {
			return fill(value, func(name string) string {
				if _, ok := known[name]; !ok && strings.HasPrefix(name, "id:") {
					known[name] = store.NewRequestID()
				}
				return known[name]
			})
		}
		response, err := callStep(testContext(t), channel, step.RPC, filled(step.Request))
		if step.Refused != "" {
			if reason, applied := reasonIn(err); reason != step.Refused || applied != pb.Applied_APPLIED_NO {
				t.Fatalf("%s: expected %s, found %v", step.Name, step.Refused, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", step.Name, err)
		}
		if !contains(response, filled(step.Response)) {
			t.Errorf("%s: expected %v, found %v", step.Name, filled(step.Response), response)
		}
		for name, path := range step.Save {
			value := any(response)
			for _, member := range strings.Split(path, ".") {
				value = value.(map[string]any)[member]
			}
			known[name] = value.(string)
		}
	}
}

// callStep calls an RPC and returns the first message of its response as JSON.
func callStep(ctx context.Context, channel *grpc.ClientConn, name string, request any) (map[string]any, error) {
	method := pb.File_bolthole_v1_store_proto.Services().Get(0).Methods().ByName(protoreflect.Name(name))
	if method == nil {
		return nil, errors.New("expected an RPC, found " + name)
	}
	in, out := dynamicpb.NewMessage(method.Input()), dynamicpb.NewMessage(method.Output())
	text, err := json.Marshal(request)
	if err == nil {
		err = protojson.Unmarshal(text, in)
	}
	if err != nil {
		return nil, err
	}
	path := "/bolthole.v1.RuntimeStoreService/" + name
	if !method.IsStreamingServer() {
		err = channel.Invoke(ctx, path, in, out)
	} else {
		var stream grpc.ClientStream
		if stream, err = channel.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, path); err == nil {
			if err = stream.SendMsg(in); err == nil {
				err = stream.RecvMsg(out)
			}
		}
	}
	if err != nil {
		return nil, err
	}
	found := map[string]any{}
	if text, err = protojson.Marshal(out); err == nil {
		err = json.Unmarshal(text, &found)
	}
	return found, err
}

func reasonIn(err error) (string, pb.Applied) {
	for _, detail := range status.Convert(err).Details() {
		if found, ok := detail.(*pb.StoreErrorDetail); ok {
			return found.GetReason(), found.GetApplied()
		}
	}
	return "", pb.Applied_APPLIED_UNSPECIFIED
}

// fill replaces the texts that begin with $.
func fill(value any, valueOf func(string) string) any {
	switch value := value.(type) {
	case string:
		if name, ok := strings.CutPrefix(value, "$"); ok {
			return valueOf(name)
		}
	case map[string]any:
		filled := map[string]any{}
		for name, member := range value {
			filled[name] = fill(member, valueOf)
		}
		return filled
	case []any:
		filled := make([]any, len(value))
		for i, member := range value {
			filled[i] = fill(member, valueOf)
		}
		return filled
	}
	return value
}

// contains says whether a value has at least the expected members.
func contains(found, expected any) bool {
	members, ok := expected.(map[string]any)
	if !ok {
		return found == expected
	}
	of, ok := found.(map[string]any)
	for name, member := range members {
		ok = ok && contains(of[name], member)
	}
	return ok
}
