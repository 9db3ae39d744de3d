plugins {
    id("com.android.application")
    id("org.jetbrains.kotlin.android")
}

android {
    namespace = "keras.seqpar.sample"
    compileSdk = 36

    defaultConfig {
        applicationId = "keras.seqpar.sample"
        minSdk = 29 // a camera app may write into MediaStore for us without a permission
        targetSdk = 36
        versionCode = 1
        versionName = "1.0"
    }
}

kotlin {
    jvmToolchain(17)
}

dependencies {
    implementation(project(":core"))
    implementation("com.google.ai.edge.litert:litert:2.1.5")
}
