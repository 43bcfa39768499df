package bolthole

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"google.golang.org/genproto/googleapis/rpc/errdetails"

	pb "github.com/bolthole/bolthole-go/boltholepb"
)

// TestTheStandardMessagesAreLinkedOnce: this program has the messages of google.rpc and of the health service from their own modules.
// A second registration would end it at its start.
func TestTheStandardMessagesAreLinkedOnce(t *testing.T) {
	for name, message := range map[protoreflect.FullName]proto.Message{
		"google.rpc.ErrorInfo":              &errdetails.ErrorInfo{},
		"grpc.health.v1.HealthCheckRequest": &healthpb.HealthCheckRequest{},
		"bolthole.v1.StoreErrorDetail":      &pb.StoreErrorDetail{},
	} {
		found, err := protoregistry.GlobalTypes.FindMessageByName(name)
		if err != nil || found.Descriptor() != message.ProtoReflect().Descriptor() {
			t.Errorf("expected one message %s, found %v %v", name, found, err)
		}
	}
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		isOurs := strings.HasPrefix(file.Path(), "bolthole/")
		if isOurs != (file.Package() == "bolthole.v1") {
			t.Errorf("expected no other packages in the generated code, found %s of %s", file.Package(), file.Path())
		}
		return true
	})
}

func TestASameRowHasEveryField(t *testing.T) {
	fields := (&pb.StoredInputState{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		one, other := &pb.StoredInputState{}, &pb.StoredInputState{}
		message := other.ProtoReflect()
		switch {
		case field.IsList():
			message.Mutable(field).List().AppendMutable()
		case field.Message() != nil:
			message.Mutable(field)
		case field.Kind() == protoreflect.EnumKind:
			message.Set(field, protoreflect.ValueOfEnum(1))
		case field.Kind() == protoreflect.StringKind:
			message.Set(field, protoreflect.ValueOfString("x"))
		case field.Kind() == protoreflect.Uint32Kind:
			message.Set(field, protoreflect.ValueOfUint32(1))
		case field.Kind() == protoreflect.Uint64Kind:
			message.Set(field, protoreflect.ValueOfUint64(0))
		default:
			t.Fatalf("expected a known kind, found %s of %s", field.Kind(), field.Name())
		}
		if isSameRow(one, other) || isSameRow(other, one) {
			t.Errorf("expected that %s makes a difference", field.Name())
		}
		if !isSameRow(other, proto.Clone(other).(*pb.StoredInputState)) {
			t.Errorf("expected that rows with the same %s are the same", field.Name())
		}
	}
	unknown := &pb.StoredInputState{}
	unknown.ProtoReflect().SetUnknown([]byte{0xf8, 0x3f, 1})
	if isSameRow(unknown, &pb.StoredInputState{}) {
		t.Error("expected that a field of a later version makes a difference")
	}
	entries := (&pb.InputHistoryEntry{}).ProtoReflect().Descriptor().Fields()
	if entries.Len() != 4 {
		t.Errorf("expected the four fields that isSameHistory compares, found %d", entries.Len())
	}
}

func TestTheFieldsOfMutations(t *testing.T) {
	services := pb.File_bolthole_v1_store_proto.Services().Get(0).Methods()
	names := map[protoreflect.Name]protoreflect.FieldNumber{
		"request_id": fieldRequestID, "expected_store_id": fieldExpectedStore, "expected_fence_token": fieldExpectedFence,
		"expected_versions": fieldExpectedVers,
	}
	for i := range services.Len() {
		fields := services.Get(i).Input().Fields()
		for j := range fields.Len() {
			field := fields.Get(j)
			if number, ok := names[field.Name()]; ok && field.Number() != number && services.Get(i).Name() != "GetCommit" {
				t.Errorf("%s: expected %s with the number %d, found %d", services.Get(i).Name(), field.Name(), number, field.Number())
			}
		}
	}
}

func TestBudgets(t *testing.T) {
	budget := newByteBudget[string](10, 3)
	budget.set("a", "A", 4)
	budget.set("b", "B", 4)
	budget.get("a")
	budget.set("c", "C", 4)
	if _, ok := budget.peek("b"); ok || len(budget.entries) != 2 || budget.used != 8 {
		t.Errorf("expected a and c of 8 bytes, found %d entries of %d", len(budget.entries), budget.used)
	}
	budget.set("a", "A", 11)
	if _, ok := budget.peek("a"); ok || budget.used != 4 {
		t.Errorf("expected c only, found %d bytes", budget.used)
	}
	for _, key := range []string{"1", "2", "3"} {
		budget.set(key, key, 0)
	}
	if len(budget.entries) != 3 || budget.used != 3 {
		t.Errorf("expected three entries, found %d of %d bytes", len(budget.entries), budget.used)
	}
}

func TestTargets(t *testing.T) {
	folder := t.TempDir()
	elsewhere := filepath.Join(folder, "elsewhere.sock")
	if err := os.WriteFile(filepath.Join(folder, "endpoint"), []byte("unix:"+elsewhere+"\n127.0.0.1:7117\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for given, expected := range map[string]target{
		" " + folder + "\n":       {address: "unix:" + elsewhere, socket: elsewhere},
		"unix:" + folder:          {address: "unix:" + elsewhere, socket: elsewhere},
		"unix:///run/x.sock":      {address: "unix:/run/x.sock", socket: "/run/x.sock"},
		"/run/new-folder":         {address: "unix:/run/new-folder/bolthole.sock", socket: "/run/new-folder/bolthole.sock"},
		"127.0.0.1:7117":          {address: "127.0.0.1:7117", host: "127.0.0.1", port: "7117"},
		"ipv6:[::1]:7117":         {address: "ipv6:[::1]:7117", host: "::1", port: "7117"},
		"daemon.example.org:7117": {address: "daemon.example.org:7117", host: "daemon.example.org", port: "7117"},
	} {
		if found, err := parseTarget(given); err != nil || found != expected {
			t.Errorf("%q: expected %v, found %v %v", given, expected, found, err)
		}
	}
	for host, isLocal := range map[string]bool{
		"localhost": true, "a.localhost.": true, "127.9.9.9": true, "::1": true, "::ffff:127.0.0.1": true, "0.0.0.0": true,
		"10.0.0.1": false, "example.org": false, "localhost.example.org": false,
	} {
		if found := (target{host: host}).isLocal(); found != isLocal {
			t.Errorf("%s: expected %v, found %v", host, isLocal, found)
		}
	}
}

// fakeStore refuses the first clears with its errors, and then accepts them.
type fakeStore struct {
	pb.UnimplementedRuntimeStoreServiceServer
	refusals []error
	ids      []string
}

func (f *fakeStore) GetServerInfo(context.Context, *pb.GetServerInfoRequest) (*pb.GetServerInfoResponse, error) {
	return &pb.GetServerInfoResponse{StoreId: "id", Limits: &pb.Limits{RequestBytes: 1 << 20}}, nil
}

func (f *fakeStore) ClearSessionSnapshot(
	_ context.Context, request *pb.ClearSessionSnapshotRequest,
) (*pb.ClearSessionSnapshotResponse, error) {
	f.ids = append(f.ids, request.GetRequestId())
	if len(f.refusals) == 0 {
		return &pb.ClearSessionSnapshotResponse{Version: "e.1"}, nil
	}
	next := f.refusals[0]
	f.refusals = f.refusals[1:]
	return nil, next
}

func refusal(t *testing.T, reason Reason, times *pb.RequestIdTimes) error {
	detail := &pb.StoreErrorDetail{
		Variant: pb.StoreErrorVariant_STORE_ERROR_VARIANT_WRITE_FAILED, Reason: string(reason), Applied: pb.Applied_APPLIED_NO,
		Retry: pb.Retry_RETRY_NEVER, RequestIdTimes: times,
	}
	st, err := status.New(codes.FailedPrecondition, "Store write failed: no").WithDetails(detail)
	if err != nil {
		t.Fatal(err)
	}
	return st.Err()
}

func TestARefusedTimeIsReplacedOnce(t *testing.T) {
	ahead := uint64(time.Now().Add(time.Hour).UnixMilli())
	times := &pb.RequestIdTimes{HorizonMs: ahead, StoreTimeMs: ahead, LatestMs: ahead + 1000}
	for name, one := range map[string]struct {
		refusals []error
		opts     []CallOption
		calls    int
		reason   Reason
	}{
		"a new id":              {refusals: []error{refusal(t, ErrRequestIDExpired, times)}, calls: 2},
		"only once":             {refusals: []error{refusal(t, ErrRequestIDExpired, times), refusal(t, ErrRequestIDExpired, times)}, calls: 2, reason: ErrRequestIDExpired},
		"not the caller's id":   {refusals: []error{refusal(t, ErrRequestIDExpired, times)}, opts: []CallOption{WithRequestID("own")}, calls: 1, reason: ErrRequestIDExpired},
		"not after a lost call": {refusals: []error{status.Error(codes.Unavailable, "x"), refusal(t, ErrRequestIDExpired, times)}, calls: 2, reason: ErrOutcomeUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			fake := &fakeStore{refusals: one.refusals}
			socket := filepath.Join(t.TempDir(), "s.sock")
			listener, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			server := grpc.NewServer()
			pb.RegisterRuntimeStoreServiceServer(server, fake)
			go func() { _ = server.Serve(listener) }()
			defer server.Stop()
			store, err := Connect(context.Background(), WithTarget(socket))
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			_, err = store.ClearSessionSnapshot(context.Background(), "rt", one.opts...)
			if (one.reason == "") != (err == nil) || (err != nil && !isReason(err, one.reason)) {
				t.Errorf("expected %q, found %v", one.reason, err)
			}
			if len(fake.ids) != one.calls {
				t.Fatalf("expected %d calls, found %v", one.calls, fake.ids)
			}
			if name == "a new id" && (fake.ids[0] == fake.ids[1] || fake.ids[1] < fake.ids[0]) {
				t.Errorf("expected a later id, found %v", fake.ids)
			}
		})
	}
}
