/* A stand-in for NCCL that moves memory of the host between processes of one machine by files, for tests: the functions of nccl.h that
 * are called, with their types and their meaning. What is sent between ncclGroupStart and ncclGroupEnd is moved at the end, all at once,
 * the values of two processes in the order in which they were sent. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST 256

typedef struct { char bytes[128]; } ncclUniqueId;
typedef struct { char folder[128]; int rank, size; long sent[MOST], received[MOST]; } Communicator;
typedef struct { int is_send; void *values; size_t bytes; int peer; Communicator *communicator; } Move;

static Move moves[2 * MOST];
static int count, depth;

const char *ncclGetErrorString(int code) { return code == 4 ? "invalid argument" : "unhandled system error"; }

int ncclGetUniqueId(ncclUniqueId *id) {
  memset(id, 0, sizeof *id);
  snprintf(id->bytes, sizeof id->bytes, "/tmp/stand-in-XXXXXX");
  return mkdtemp(id->bytes) ? 0 : 2;
}

int ncclCommInitRank(Communicator **communicator, int size, ncclUniqueId id, int rank) {
  if (size > MOST || rank < 0 || rank >= size) return 4;
  *communicator = calloc(1, sizeof **communicator);
  memcpy((*communicator)->folder, id.bytes, sizeof id.bytes);
  (*communicator)->rank = rank;
  (*communicator)->size = size;
  return 0;
}

/* The last one removes the folder. */
int ncclCommDestroy(Communicator *communicator) {
  rmdir(communicator->folder);
  free(communicator);
  return 0;
}

static int send_now(const Move *move) {
  Communicator *own = move->communicator;
  char name[200], part[256];
  snprintf(name, sizeof name, "%s/%d-%d-%ld", own->folder, own->rank, move->peer, own->sent[move->peer]++);
  snprintf(part, sizeof part, "%s.part", name);
  FILE *file = fopen(part, "wb");
  if (!file || fwrite(move->values, 1, move->bytes, file) != move->bytes || fclose(file)) return 2;
  return rename(part, name) ? 2 : 0;
}

static int receive_now(const Move *move) {
  Communicator *own = move->communicator;
  char name[200];
  snprintf(name, sizeof name, "%s/%d-%d-%ld", own->folder, move->peer, own->rank, own->received[move->peer]++);
  FILE *file = NULL;
  for (int tries = 0; tries < 60000 && !(file = fopen(name, "rb")); tries++) usleep(1000);
  if (!file || fread(move->values, 1, move->bytes, file) != move->bytes || fgetc(file) != EOF) return 2;
  fclose(file);
  return unlink(name) ? 2 : 0;
}

int ncclGroupStart(void) { return depth++, 0; }

int ncclGroupEnd(void) {
  int code = 0;
  if (--depth > 0) return 0;
  for (int i = 0; i < count && !code; i++) if (moves[i].is_send) code = send_now(&moves[i]);
  for (int i = 0; i < count && !code; i++) if (!moves[i].is_send) code = receive_now(&moves[i]);
  count = 0;
  return code;
}

static int later(int is_send, void *values, size_t length, int type, int peer, Communicator *communicator, void *stream) {
  if (depth == 0 || count == 2 * MOST || type != 7 || stream || peer < 0 || peer >= communicator->size || peer == communicator->rank) return 4;
  moves[count++] = (Move){is_send, values, length * sizeof(float), peer, communicator};
  return 0;
}

int ncclSend(void *values, size_t length, int type, int peer, Communicator *communicator, void *stream) {
  return later(1, values, length, type, peer, communicator, stream);
}

int ncclRecv(void *values, size_t length, int type, int peer, Communicator *communicator, void *stream) {
  return later(0, values, length, type, peer, communicator, stream);
}
