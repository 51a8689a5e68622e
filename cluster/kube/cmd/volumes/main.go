// Command volumes gives each claim of its StorageClass a folder on the node, open to every user, and takes the folder
// away when the volume is released.
//
// Kubernetes' own host-path provisioner makes folders that only root may write to, so no pod that runs as somebody
// else could use them. This one does what the provisioner of kind's published image does, without helper pods, and
// therefore for one node only.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

const (
	provisioner     = "pinnace.dev/folder"
	folders         = "/var/lib/volumes"
	provisionedBy   = "pv.kubernetes.io/provisioned-by"
	askedOf         = "volume.kubernetes.io/storage-provisioner"
	selectedNode    = "volume.kubernetes.io/selected-node"
	hostname        = "kubernetes.io/hostname"
	resync          = 30 * time.Second
	claimOf, volume = "claim", "volume"
)

// item is one object to look at again: of which sort, and its key in the informer's store.
type item struct{ sort, key string }

type controller struct {
	client  kubernetes.Interface
	claims  cache.Store
	volumes cache.Store
	queue   workqueue.TypedRateLimitingInterface[item]
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		slog.Error("volumes.ended", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	config, err := rest.InClusterConfig()
	if err != nil {
		return fmt.Errorf("this runs in a pod: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, resync)
	claims := factory.Core().V1().PersistentVolumeClaims().Informer()
	volumes := factory.Core().V1().PersistentVolumes().Informer()
	c := &controller{
		client: client, claims: claims.GetStore(), volumes: volumes.GetStore(),
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[item]()),
	}
	for sort, informer := range map[string]cache.SharedIndexInformer{claimOf: claims, volume: volumes} {
		if _, err := informer.AddEventHandler(c.enqueue(sort)); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	context.AfterFunc(ctx, c.queue.ShutDown)
	slog.Info("volumes.started", "folders", folders)
	for c.next(ctx) {
	}
	return nil
}

func (c *controller) enqueue(sort string) cache.ResourceEventHandler {
	add := func(object any) {
		if key, err := cache.MetaNamespaceKeyFunc(object); err == nil {
			c.queue.Add(item{sort, key})
		}
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: add, UpdateFunc: func(_, changed any) { add(changed) }}
}

func (c *controller) next(ctx context.Context) bool {
	due, ended := c.queue.Get()
	if ended {
		return false
	}
	defer c.queue.Done(due)
	if err := c.reconcile(ctx, due); err != nil {
		slog.Warn("volumes.again", "sort", due.sort, "key", due.key, "error", err)
		c.queue.AddRateLimited(due)
		return true
	}
	c.queue.Forget(due)
	return true
}

func (c *controller) reconcile(ctx context.Context, due item) error {
	if due.sort == claimOf {
		object, exists, err := c.claims.GetByKey(due.key)
		if err != nil || !exists {
			return err
		}
		return c.provide(ctx, object.(*core.PersistentVolumeClaim))
	}
	object, exists, err := c.volumes.GetByKey(due.key)
	if err != nil || !exists {
		return err
	}
	return c.take(ctx, object.(*core.PersistentVolume))
}

// provide makes the folder and the volume that a claim waits for. Doing it twice makes one.
func (c *controller) provide(ctx context.Context, claim *core.PersistentVolumeClaim) error {
	node := claim.Annotations[selectedNode]
	if claim.Annotations[askedOf] != provisioner || claim.Spec.VolumeName != "" || node == "" {
		return nil
	}
	class, err := c.client.StorageV1().StorageClasses().Get(ctx, *claim.Spec.StorageClassName, meta.GetOptions{})
	if err != nil {
		return err
	}
	name := "pvc-" + string(claim.UID)
	folder := filepath.Join(folders, name)
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	if err := os.Chmod(folder, 0o777); err != nil { // the umask took the others' right to write
		return err
	}
	_, err = c.client.CoreV1().PersistentVolumes().Create(ctx, folderVolume(name, folder, node, claim, *class.ReclaimPolicy), meta.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	if err == nil {
		slog.Info("volume.created", "name", name, "claim", claim.Namespace+"/"+claim.Name)
	}
	return err
}

func folderVolume(name, folder, node string, claim *core.PersistentVolumeClaim, reclaim core.PersistentVolumeReclaimPolicy) *core.PersistentVolume {
	sort := core.HostPathDirectoryOrCreate
	here := core.NodeSelectorRequirement{Key: hostname, Operator: core.NodeSelectorOpIn, Values: []string{node}}
	return &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: name, Annotations: map[string]string{provisionedBy: provisioner}},
		Spec: core.PersistentVolumeSpec{
			AccessModes:                   claim.Spec.AccessModes,
			Capacity:                      core.ResourceList{core.ResourceStorage: claim.Spec.Resources.Requests[core.ResourceStorage]},
			PersistentVolumeReclaimPolicy: reclaim,
			StorageClassName:              *claim.Spec.StorageClassName,
			VolumeMode:                    claim.Spec.VolumeMode,
			ClaimRef: &core.ObjectReference{
				Kind: "PersistentVolumeClaim", APIVersion: "v1",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID, ResourceVersion: claim.ResourceVersion,
			},
			PersistentVolumeSource: core.PersistentVolumeSource{HostPath: &core.HostPathVolumeSource{Path: folder, Type: &sort}},
			NodeAffinity: &core.VolumeNodeAffinity{Required: &core.NodeSelector{
				NodeSelectorTerms: []core.NodeSelectorTerm{{MatchExpressions: []core.NodeSelectorRequirement{here}}},
			}},
		},
	}
}

// take removes a released volume and its folder, which is named after the volume and never read from it.
func (c *controller) take(ctx context.Context, released *core.PersistentVolume) error {
	ours := released.Annotations[provisionedBy] == provisioner
	policy := released.Spec.PersistentVolumeReclaimPolicy
	if !ours || released.Status.Phase != core.VolumeReleased || policy != core.PersistentVolumeReclaimDelete {
		return nil
	}
	if err := os.RemoveAll(filepath.Join(folders, filepath.Base(released.Name))); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	err := c.client.CoreV1().PersistentVolumes().Delete(ctx, released.Name, meta.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err == nil {
		slog.Info("volume.removed", "name", released.Name)
	}
	return err
}
