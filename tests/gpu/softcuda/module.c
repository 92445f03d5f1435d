/* Modules and launches: the image is checked as a loader would, then the same kernels, compiled for the CPU, stand in for its code. */
#include "image.h"
#include "internal.h"
#include <dlfcn.h>

#define MODULE_MAGIC 0x4d4f4455u
#define FUNCTION_MAGIC 0x46554e43u

typedef void (*Kernel)(const void *params, size_t bytes, const unsigned grid[3], const unsigned block[3], unsigned shared);

typedef struct Module {
    uint32_t magic, generation;
    bool alive;
    Context *context;
    void *image;
    size_t bytes;
} Module;

typedef struct Function {
    uint32_t magic, generation;
    Module *module;
    char name[128];
    Layout layout;
    Kernel run;
    int dynamic_shared;
} Function;

static char kernels_path[4096];

void modules_reset(void) {} /* handles of an earlier generation are refused; what they hold is small */

int soft_kernels(const char *path) {
    pthread_mutex_lock(&g.lock);
    g.kernels = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    snprintf(kernels_path, sizeof kernels_path, "%s", path);
    if (!g.kernels) violation("no kernels: %s", dlerror());
    pthread_mutex_unlock(&g.lock);
    return g.kernels ? 0 : -1;
}

static Module *module_of(CUmodule handle) {
    Module *m = (Module *)handle;
    return m && m->magic == MODULE_MAGIC && m->generation == g.generation && m->alive ? m : NULL;
}

static CUresult load(CUmodule *handle, const void *image, size_t limit) {
    int refused = image_check(image, limit, g.version, g.preset->major, g.preset->minor);
    if (refused) return (CUresult)refused;
    Module *m = calloc(1, sizeof *m);
    *m = (Module){.magic = MODULE_MAGIC, .generation = g.generation, .alive = true, .context = current_context(), .bytes = image_bytes(image)};
    m->image = malloc(m->bytes + 1);
    memcpy(m->image, image, m->bytes);
    ((char *)m->image)[m->bytes] = 0;
    COUNT(modules)++;
    COUNT(live_modules)++;
    *handle = (CUmodule)m;
    return CUDA_SUCCESS;
}

API cuModuleLoadData(CUmodule *handle, const void *image) {
    ENTER(CONTEXT | UNSAFE);
    LEAVE(load(handle, image, SIZE_MAX));
}

/* The logs of the compiler stay empty; the sizes of what was written into them go back in place of the values. */
static void empty_logs(unsigned count, const CUjit_option *options, void **values) {
    for (unsigned i = 0; i < count; i++) {
        if (options[i] == CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES || options[i] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES) values[i] = NULL;
        if ((options[i] == CU_JIT_INFO_LOG_BUFFER || options[i] == CU_JIT_ERROR_LOG_BUFFER) && values[i]) *(char *)values[i] = 0;
    }
}

API cuModuleLoadDataEx(CUmodule *handle, const void *image, unsigned count, CUjit_option *options, void **values) {
    ENTER(CONTEXT | UNSAFE);
    empty_logs(count, options, values);
    LEAVE(load(handle, image, SIZE_MAX));
}

API cuModuleLoad(CUmodule *handle, const char *path) {
    ENTER(CONTEXT | UNSAFE);
    FILE *file = fopen(path, "rb");
    REFUSE_UNLESS(file, CUDA_ERROR_FILE_NOT_FOUND);
    fseek(file, 0, SEEK_END);
    long bytes = ftell(file);
    char *image = calloc(1, (size_t)bytes + 1);
    rewind(file);
    size_t got = fread(image, 1, (size_t)bytes, file);
    fclose(file);
    CUresult result = load(handle, image, got);
    free(image);
    LEAVE(result);
}

API cuModuleUnload(CUmodule handle) {
    ENTER(CONTEXT | UNSAFE);
    Module *m = module_of(handle);
    REFUSE_UNLESS(m, CUDA_ERROR_INVALID_HANDLE);
    m->alive = false;
    COUNT(live_modules)--;
    LEAVE(CUDA_SUCCESS);
}

static Kernel compiled(const char *name) {
    char symbol[160];
    const char *path = getenv("SOFTCUDA_KERNELS");
    if (!g.kernels && path && *path) {
        g.kernels = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!g.kernels) violation("no kernels: %s", dlerror());
    }
    snprintf(symbol, sizeof symbol, "soft_kernel_%s", name);
    return g.kernels ? (Kernel)dlsym(g.kernels, symbol) : NULL;
}

API cuModuleGetFunction(CUfunction *handle, CUmodule module_handle, const char *name) {
    ENTER(CONTEXT);
    Module *m = module_of(module_handle);
    REFUSE_UNLESS(m, CUDA_ERROR_INVALID_HANDLE);
    Function *f = calloc(1, sizeof *f);
    *f = (Function){.magic = FUNCTION_MAGIC, .generation = g.generation, .module = m, .run = compiled(name)};
    snprintf(f->name, sizeof f->name, "%s", name);
    bool in_image = image_kernel(m->image, m->bytes, name, &f->layout);
    if (in_image && !f->run) violation("kernel %s is in the module and not in the kernels compiled for the CPU", name);
    REFUSE_UNLESS(in_image && f->run, CUDA_ERROR_NOT_FOUND);
    *handle = (CUfunction)f;
    LEAVE(CUDA_SUCCESS);
}

API cuModuleGetGlobal_v2(CUdeviceptr *address, size_t *bytes, CUmodule handle, const char *name) {
    ENTER(CONTEXT);
    (void)address, (void)bytes, (void)name;
    LEAVE(module_of(handle) ? CUDA_ERROR_NOT_FOUND : CUDA_ERROR_INVALID_HANDLE);
}

static Function *function_of(CUfunction handle) {
    Function *f = (Function *)handle;
    return f && f->magic == FUNCTION_MAGIC && f->generation == g.generation && f->module->alive ? f : NULL;
}

API cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction handle) {
    ENTER(CONTEXT);
    const Function *f = function_of(handle);
    REFUSE_UNLESS(f, CUDA_ERROR_INVALID_HANDLE);
    int arch = g.preset->major * 10 + g.preset->minor;
    switch ((int)attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = 1024; break;
    case CU_FUNC_ATTRIBUTE_NUM_REGS: *value = 32; break;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION: case CU_FUNC_ATTRIBUTE_BINARY_VERSION: *value = arch; break;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: *value = f->dynamic_shared; break;
    default: *value = 0; break;
    }
    LEAVE(CUDA_SUCCESS);
}

/* PyCUDA sets it before every launch; cuLaunchKernel then brings its own. */
API cuFuncSetBlockShape(CUfunction handle, int x, int y, int z) {
    ENTER(CONTEXT);
    REFUSE_UNLESS(function_of(handle), CUDA_ERROR_INVALID_HANDLE);
    REFUSE_UNLESS(x > 0 && y > 0 && z > 0 && (int64_t)x * y * z <= 1024, CUDA_ERROR_INVALID_VALUE);
    LEAVE(CUDA_SUCCESS);
}

API cuFuncSetAttribute(CUfunction handle, CUfunction_attribute attribute, int value) {
    ENTER(CONTEXT);
    Function *f = function_of(handle);
    REFUSE_UNLESS(f, CUDA_ERROR_INVALID_HANDLE);
    if (attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
        REFUSE_UNLESS(value >= 0 && value <= g.preset->shared_optin, CUDA_ERROR_INVALID_VALUE);
        f->dynamic_shared = value;
    }
    LEAVE(CUDA_SUCCESS);
}

API cuFuncSetCacheConfig(CUfunction handle, CUfunc_cache config) {
    ENTER(CONTEXT);
    (void)config;
    LEAVE(function_of(handle) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE);
}

/* The argument block of a launch, which must be as long as the compiled kernel says. */
static CUresult pack(const Function *f, void **params, void **extra, void **block, size_t *bytes) {
    const void *from = NULL;
    *bytes = f->layout.total;
    if (params && extra) return CUDA_ERROR_INVALID_VALUE;
    for (void **e = extra; e && *e != CU_LAUNCH_PARAM_END; e += 2) {
        if (*e == CU_LAUNCH_PARAM_BUFFER_POINTER) from = e[1];
        if (*e == CU_LAUNCH_PARAM_BUFFER_SIZE) *bytes = *(size_t *)e[1];
    }
    if (extra ? !from : f->layout.total && !params) return CUDA_ERROR_INVALID_VALUE;
    if (*bytes != f->layout.total) {
        violation("kernel %s takes %zu bytes of arguments, not %zu", f->name, f->layout.total, *bytes);
        return CUDA_ERROR_INVALID_VALUE;
    }
    *block = calloc(1, *bytes + 8);
    if (extra) memcpy(*block, from, *bytes);
    for (int i = 0; !extra && i < f->layout.count; i++) memcpy((char *)*block + f->layout.offset[i], params[i], f->layout.bytes[i]);
    return CUDA_SUCCESS;
}

static bool fits(const Function *f, const unsigned grid[3], const unsigned block[3], unsigned shared) {
    unsigned allowed = f->dynamic_shared > 49152 ? (unsigned)f->dynamic_shared : 49152;
    bool some = grid[0] && grid[1] && grid[2] && block[0] && block[1] && block[2];
    return some && grid[0] <= 0x7fffffffu && grid[1] <= 65535 && grid[2] <= 65535 && block[0] <= 1024 && block[1] <= 1024 && block[2] <= 64 &&
           block[0] * block[1] * block[2] <= 1024 && shared <= allowed;
}

API cuLaunchKernel(CUfunction handle, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                   CUstream stream, void **params, void **extra) {
    ENTER(CONTEXT);
    Function *f = function_of(handle);
    REFUSE_UNLESS(f, CUDA_ERROR_INVALID_HANDLE);
    Work work = {.kind = WORK_KERNEL, .name = f->name, .function = f, .grid = {gx, gy, gz}, .block = {bx, by, bz}, .shared = shared};
    REFUSE_UNLESS(fits(f, work.grid, work.block, shared), CUDA_ERROR_INVALID_VALUE);
    CUresult result = pack(f, params, extra, &work.params, &work.params_bytes);
    REFUSE_UNLESS(!result, result);
    COUNT(launches)++;
    LEAVE(submit(stream, work));
}

int function_run(const Function *f, const Work *work) {
    f->run(work->params, work->params_bytes, work->grid, work->block, work->shared);
    return 0;
}
